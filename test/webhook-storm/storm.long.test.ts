import { stormSuite } from "./storm.suite.ts"

stormSuite({ requests: 1_000, kills: 10, origins: 4 }, 600_000)
