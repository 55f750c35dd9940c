import { downSuite } from "./down.suite.ts"

downSuite(20_000)
