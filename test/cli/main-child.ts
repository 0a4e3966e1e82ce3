import { main } from "../../cli/main.js";

/** The command line as a process of its own, with nothing built first. */
process.exit(await main(process.argv.slice(2)));
