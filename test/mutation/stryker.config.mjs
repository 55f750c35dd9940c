/**
 * Changes the domain's decisions one at a time and runs the domain's own tests on each: a change that they let pass is
 * a decision that nothing holds. Not one may survive, so there is no score to argue about.
 *
 * @type {import("@stryker-mutator/api/core").PartialStrykerOptions}
 */
export default {
  mutate: ["packages/server/src/domain/**/*.ts", "!packages/server/src/domain/**/*.test.ts"],
  testRunner: "vitest",
  vitest: { configFile: "test/mutation/vitest.config.ts" },
  // The copy that is changed needs the domain; whatever else it imports comes through node_modules.
  ignorePatterns: [
    "**",
    "!/package.json",
    "!/packages/server/package.json",
    "!/packages/server/src/domain/**",
    "!/test/mutation/vitest.config.ts",
  ],
  thresholds: { high: 100, low: 100, break: 100 },
  // Beside others on a shared machine.
  concurrency: 1,
  // For what never ends only; a loop that a change made endless is cut off by its count much sooner.
  timeoutMS: 30_000,
  dryRunTimeoutMinutes: 2,
  cleanTempDir: "always",
  // That a table of constants takes all tests is known.
  warnings: { slow: false },
  reporters: ["clear-text", "progress-append-only", "json"],
  jsonReporter: { fileName: "test/mutation/report.json" },
  clearTextReporter: { logTests: false, reportTests: false },
}
