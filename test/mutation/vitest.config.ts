import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: { conditions: ["tintype-source"] },
  ssr: { resolve: { conditions: ["tintype-source"] } },
  test: {
    include: ["packages/server/src/domain/**/*.test.ts"],
    // A test that is slow on a busy machine would pass for one that noticed the change.
    testTimeout: 60_000,
  },
})
