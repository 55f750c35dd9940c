import type { App } from "@tintype/app"
import { echo } from "./echo.ts"
import { fastSdxl } from "./fast-sdxl.ts"
import { flux } from "./flux.ts"

export { echo, fastSdxl, flux }

/** The apps that every Tintype has from the start. */
export const builtinApps: readonly App[] = [flux, fastSdxl, echo]
