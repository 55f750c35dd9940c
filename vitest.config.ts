import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: { conditions: ["tintype-source"] },
  ssr: { resolve: { conditions: ["tintype-source"] } },
  test: {
    include: ["packages/*/src/**/*.test.ts", "test/**/*.test.ts"],
    exclude: ["test/**/*.long.test.ts"],
    globalSetup: "test/temporary-folder.ts",
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 20_000,
    reporters: ["default"],
  },
})
