import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: { conditions: ["tintype-source"] },
  ssr: { resolve: { conditions: ["tintype-source"] } },
  test: {
    include: ["test/**/*.long.test.ts"],
    exclude: ["**/node_modules/**"],
    globalSetup: "test/temporary-folder.ts",
    pool: "forks",
    maxWorkers: 1,
    testTimeout: 1_200_000,
    env: { TINTYPE_RECORD: "1" },
    reporters: ["default"],
  },
})
