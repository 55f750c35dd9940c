import { defineConfig, mergeConfig } from "vitest/config"
import base from "./vitest.config.ts"

const long = mergeConfig(base, defineConfig({ test: { testTimeout: 1_200_000 } }))
long.test!.include = ["test/**/*.long.test.ts"]
long.test!.exclude = []

export default long
