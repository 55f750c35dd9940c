export { type HostedApp, hostApp, importApps } from "./attempt/app-host.ts"
export { Backoff } from "./link/backoff.ts"
export { buildId } from "./process/build-id.ts"
export { captureConsole } from "./attempt/console-capture.ts"
export { type RunnerTiming, runnerLimits, runnerTiming } from "./limits.ts"
export type { DialTarget } from "./link/link-client.ts"
export {
  type ProcessIdentity,
  createIdentity,
  isAlive,
  processStartTime,
  readIdentity,
  signalProcess,
} from "./process/process-identity.ts"
export { Runner, type RunnerEnd, type RunnerOptions } from "./runner.ts"
export {
  type RunnerCommand,
  identityTakenCode,
  runnerEntryPath,
  secretVariable,
  toArguments,
} from "./process/runner-command.ts"
