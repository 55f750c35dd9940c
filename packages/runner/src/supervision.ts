/** What a process that starts and watches runners needs; it loads no app and nothing that apps are made of. */
export { runnerLimits } from "./limits.ts"
export { Backoff } from "./link/backoff.ts"
export { buildId } from "./process/build-id.ts"
export {
  type ProcessIdentity,
  createIdentity,
  isAlive,
  processStartTime,
  readIdentity,
  signalProcess,
} from "./process/process-identity.ts"
export {
  type RemoteRunnerCommand,
  type RunnerCommand,
  identityTakenCode,
  replaceCode,
  runnerEntryPath,
  secretVariable,
  toArguments,
} from "./process/runner-command.ts"
export { dropStartupGarbage } from "./process/startup-garbage.ts"
