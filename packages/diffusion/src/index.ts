export {
  configureDiffusion,
  describeModels,
  Diffusion,
  generate,
  type ModelReport,
  watchModels,
} from "./diffusion.ts"
export { DiffusionError, type Refusal } from "./diffusion-error.ts"
export type { LoadedModel } from "./thread/order.ts"
export { isHubId } from "./hub/hub.ts"
export type { Audience, Job, Picture, Preview, SchedulerName, Source } from "./job.ts"
export { miniatureFolder } from "./miniature.ts"
export { PictureError, type PictureRefusal } from "./pictures/picture-error.ts"
export { readSettings, type Settings } from "./settings.ts"
