const json = (name: string) => ({
  content: { "application/json": { schema: { $ref: `#/components/schemas/${name}` } } },
})
const id = "1st-owner/strange.app/v1.5/*"

/** A models entry with all that documents in the wild are strange in. */
export const trickyModel = {
  endpoint_id: id,
  metadata: { display_name: "Ends a comment */ and a tag @deprecated", category: "other" },
  openapi: {
    components: {
      schemas: {
        "Strange.AppV1.5Input": {
          title: "Input",
          type: "object",
          description: "Some\n\n  text\u2028 with `ticks` and */ an end.",
          properties: {
            class: { type: "string", default: 'a"b\\', description: "@param none" },
            "with-dash": {
              type: "array",
              minItems: 2,
              maxItems: 2,
              prefixItems: [{ type: "number" }, { anyOf: [{ type: "number" }, { type: "null" }] }],
            },
            tree: { allOf: [{ $ref: "#/components/schemas/Tree" }], description: "Of itself." },
            mixed: {
              type: "object",
              properties: { a: { type: "string" } },
              required: ["a"],
              additionalProperties: { type: "number" },
            },
            both: {
              allOf: [{ $ref: "#/components/schemas/One" }, { $ref: "#/components/schemas/Two" }],
            },
            quote: { enum: ['it\'s "so"', "line\nbreak", "\u2028", "${x}", 1.5, null, true] },
            image_urls: { type: "array", items: { type: "string" }, uniqueItems: true },
            missing: { $ref: "#/components/schemas/Missing" },
            loose: {},
            never: false,
            numbers: { type: "array", items: { oneOf: [{ type: "integer" }, { const: "all" }] } },
            __proto__text: { type: ["string", "null"], deprecated: true },
          },
          required: ["class", "with-dash", "tree", "mixed", "both", "quote", "image_urls"],
        },
        "Strange.AppV1.5Output": {
          type: "object",
          properties: {
            either: { nullable: true, oneOf: [{ type: "string" }, { type: "number" }] },
            tree: { $ref: "#/components/schemas/Tree" },
          },
          required: ["either"],
        },
        Tree: {
          type: "object",
          properties: {
            children: { type: "array", items: { $ref: "#/components/schemas/Tree" } },
          },
        },
        One: { type: "object", properties: { one: { type: "integer" } }, required: ["one"] },
        Two: { type: "object", properties: { two: { type: "string" } }, required: ["two"] },
      },
    },
    paths: {
      [`/${id}`]: { post: { requestBody: json("Strange.AppV1.5Input") } },
      [`/${id}/requests/{request_id}`]: {
        get: { responses: { 200: json("Strange.AppV1.5Output") } },
      },
    },
  },
}
