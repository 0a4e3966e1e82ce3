/** What the workflow bundle exports: workflow types are the names of these functions. */
export { finetune } from "./finetune.js";
export { gpuLease } from "./lease.js";
