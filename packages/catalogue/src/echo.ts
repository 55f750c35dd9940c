import { defineApp } from "@tintype/app"

/** Answers with the bytes that it was given: for tests of everything around an app. */
export const echo = defineApp({
  id: "tintype/echo",
  endpoints: {
    "/": {
      title: "Echo",
      category: "json",
      description: "Answers with the JSON that it was given, byte for byte.",
      raw: (input) => input,
    },
  },
})
