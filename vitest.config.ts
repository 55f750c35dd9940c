import { defineConfig } from "vitest/config"

/** They measure time or kill what they run: beside other tests they would measure those. */
const alone = [
  "test/startup.test.ts",
  "test/realtime-latency.test.ts",
  "test/crash/**/*.test.ts",
  "test/durability/**/*.test.ts",
  "test/webhook-storm/**/*.test.ts",
  "test/io-failures/**/*.test.ts",
  "test/full-disk/**/*.test.ts",
  "test/torn-log/**/*.test.ts",
  "test/clock-jumps/**/*.test.ts",
  "test/fuzz/**/*.test.ts",
  "bench/guard.test.ts",
]
/** `npm run mutate` installs its tool in a folder of its own below test/, and packages bring tests. */
const never = ["**/node_modules/**", "test/**/*.long.test.ts"]

export default defineConfig({
  resolve: { conditions: ["tintype-source"] },
  ssr: { resolve: { conditions: ["tintype-source"] } },
  test: {
    globalSetup: "test/temporary-folder.ts",
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 20_000,
    reporters: ["default"],
    projects: [
      {
        extends: true,
        test: {
          name: "together",
          include: ["packages/*/src/**/*.test.ts", "test/**/*.test.ts", "bench/**/*.test.ts"],
          exclude: [...alone, ...never],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "alone",
          include: alone,
          exclude: never,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
