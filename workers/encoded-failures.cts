/** Failures whose message and stack are a payload, so that the codec encrypts them. Temporal loads this file by its path, in workers and in the workflows' sandbox; it must be CommonJS. */
// oxlint-disable-next-line typescript/consistent-type-imports -- CommonJS has no import of types
const common = require("@temporalio/common") as typeof import("@temporalio/common");

module.exports = { failureConverter: new common.DefaultFailureConverter({ encodeCommonAttributes: true }) };
