/** Every bound of this package. What an operator may choose is in `settings.ts`. */

/**
 * Characters of a prompt. The text encoders read 77 tokens, a few hundred characters: a prompt that is longer than they read is
 * cut with a log line, as diffusers does; one beyond this is refused, as nobody meant it.
 */
export const promptCharactersMax = 10_000

/** Jobs that may wait for the thread; a runner's slots keep it far below. */
export const waitingMax = 512

/** The longer side of a preview, in pixels. */
export const previewSide = 64

/**
 * How long one job may wait for its previews to be taken, all its steps together: whoever reads along sets the pace of every
 * other job, too, as they wait behind this one.
 */
export const previewsWaitMsMax = 2_000

/** A JSON file of a model's folder, `vocab.json` and `tokenizer.json` included. */
export const jsonBytesMax = 64 * 2 ** 20

/** All files of a model that is fetched from a hub. */
export const hubBytesMax = 64 * 2 ** 30
/** Files of a model's repository that are looked at, wanted or not. */
export const hubFilesMax = 10_000
/** One page of a hub's listing. */
export const hubListingBytesMax = 8 * 2 ** 20
/** A hub that sends nothing for so long is gone. */
export const hubSilenceMs = 30_000
/** Tries of a file whose connection breaks; each goes on where the last one stopped. */
export const hubTriesMax = 4
/** How often a fetch says how far it is. */
export const hubProgressMs = 2_000
/** How often a process looks whether another one has fetched the model by now. */
export const hubLockPollMs = 250
