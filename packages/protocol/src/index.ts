export * from "./errors.ts"
export * from "./link.ts"
export * from "./request-state.ts"
