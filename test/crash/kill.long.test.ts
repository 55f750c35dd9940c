import { killSuite } from "./kill.suite.ts"

killSuite({ load: 40, start: 10, checkpoint: 10 }, 600_000)
