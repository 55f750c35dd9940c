import { tornLogSuite } from "./torn-log.suite.ts"

tornLogSuite({ framesOfEach: 8, kindsMax: Number.POSITIVE_INFINITY })
