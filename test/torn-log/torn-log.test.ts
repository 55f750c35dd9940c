import { tornLogSuite } from "./torn-log.suite.ts"

tornLogSuite({ framesOfEach: 1, kindsMax: 4 })
