import type { App } from "@tintype/app"
import { configureDiffusion, readSettings } from "@tintype/diffusion"
import { echo } from "./echo.ts"
import { checkEngines, chooseEngines, readEngines } from "./engine-choice.ts"
import { defineFastLightningSdxl } from "./fast-lightning-sdxl.ts"
import { defineFastSdxl } from "./fast-sdxl.ts"
import { defineFlux } from "./flux.ts"
import { defineFastLcmDiffusion, defineLcmSd15I2i } from "./lcm.ts"
import { defineMiniature } from "./miniature.ts"

/** What this process was told; a setting that cannot be kept ends it here, before anything is served. */
const engines = readEngines(process.env["TINTYPE_ENGINES"], process.cwd())
configureDiffusion(readSettings(process.env))
const engineOf = chooseEngines(engines)

export const miniature = defineMiniature(engineOf)
export const flux = defineFlux(engineOf)
export const fastSdxl = defineFastSdxl(engineOf)
export const fastLightningSdxl = defineFastLightningSdxl(engineOf)
export const fastLcmDiffusion = defineFastLcmDiffusion(engineOf)
export const lcmSd15I2i = defineLcmSd15I2i(engineOf)
export { echo }

const pictureApps = [miniature, flux, fastSdxl, fastLightningSdxl, fastLcmDiffusion, lcmSd15I2i]
checkEngines(engines, pictureApps)

/** The apps that every Tintype has from the start. */
export const builtinApps: readonly App[] = [...pictureApps, echo]
