import type { App } from "@tintype/app"
import { echo } from "./echo.ts"
import { fastLightningSdxl } from "./fast-lightning-sdxl.ts"
import { fastSdxl } from "./fast-sdxl.ts"
import { flux } from "./flux.ts"
import { fastLcmDiffusion, lcmSd15I2i } from "./lcm.ts"

export { echo, fastLcmDiffusion, fastLightningSdxl, fastSdxl, flux, lcmSd15I2i }

/** The apps that every Tintype has from the start. */
export const builtinApps: readonly App[] = [
  flux,
  fastSdxl,
  fastLightningSdxl,
  fastLcmDiffusion,
  lcmSd15I2i,
  echo,
]
