export { type HostedApp, hostApp, importApps } from "./app-host.ts"
export { Backoff } from "./backoff.ts"
export { buildId } from "./build-id.ts"
export { captureConsole } from "./console-capture.ts"
export { type RunnerTiming, runnerLimits, runnerTiming } from "./limits.ts"
export type { DialTarget } from "./link-client.ts"
export {
  type ProcessIdentity,
  createIdentity,
  isAlive,
  processStartTime,
  readIdentity,
  signalProcess,
} from "./process-identity.ts"
export { Runner, type RunnerEnd, type RunnerOptions } from "./runner.ts"
export {
  type RunnerCommand,
  identityTakenCode,
  runnerEntryPath,
  secretVariable,
  toArguments,
} from "./runner-command.ts"
