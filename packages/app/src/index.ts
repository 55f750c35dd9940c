export type * from "./context.ts"
export type * from "./define-app.ts"
