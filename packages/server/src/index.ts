export { defaultConfig, type Config } from "./config.ts"
export { ConfigError, configFlags, loadConfig } from "./settings/config-load.ts"
export { StartError } from "./start-error.ts"
export { exitRestart, startServer, type TintypeServer } from "./main.ts"
