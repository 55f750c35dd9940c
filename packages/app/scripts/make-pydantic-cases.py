"""Writes fixtures/pydantic-cases.json: what Pydantic 2 and FastAPI answer, the oracle of validate.test.ts.

    python3 -m venv /tmp/oracle && /tmp/oracle/bin/pip install pydantic==2.14.3 fastapi==0.165.0 httpx==0.28.1
    /tmp/oracle/bin/python packages/app/scripts/make-pydantic-cases.py > packages/app/fixtures/pydantic-cases.json

Each schema stands in src/validation/validate.test.ts as a zod schema, under the same name.
"""

import json
import math
import sys
from typing import Annotated, Any, Dict, List, Literal, Optional, Tuple, Union

import fastapi
import pydantic
from fastapi.encoders import jsonable_encoder
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator


class ImageSize(BaseModel):
    width: int = Field(512, gt=0, le=14142)
    height: int = Field(512, gt=0, le=14142)


Preset = Literal[
    "square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9"
]


class LoraWeight(BaseModel):
    path: str
    scale: float = Field(1.0, ge=0, le=1)
    force: bool = False


class Embedding(BaseModel):
    path: str
    tokens: List[str] = ["<s0>", "<s1>"]


class FluxInput(BaseModel):
    prompt: str
    image_size: Union[ImageSize, Preset] = "landscape_4_3"
    num_inference_steps: int = Field(28, ge=1, le=50)
    seed: Optional[int] = None
    guidance_scale: float = Field(3.5, ge=1, le=20)
    sync_mode: bool = False
    num_images: int = Field(1, ge=1, le=4)
    output_format: Literal["jpeg", "png"] = "jpeg"
    loras: List[LoraWeight] = []
    embeddings: List[Embedding] = []


class Int(BaseModel):
    v: int


class Float(BaseModel):
    v: float


class Str(BaseModel):
    v: str


class Bool(BaseModel):
    v: bool


class Null(BaseModel):
    v: None


class Anything(BaseModel):
    v: Any


class OptionalInt(BaseModel):
    v: Optional[int]


class BoundedInt(BaseModel):
    v: int = Field(gt=0, lt=10, multiple_of=3)


class BoundedFloat(BaseModel):
    v: float = Field(gt=0.5, lt=2.5, multiple_of=0.1)


class ClosedFloat(BaseModel):
    v: float = Field(ge=0, le=1.5)


class ShortStr(BaseModel):
    v: str = Field(min_length=2, max_length=4)


class OneStr(BaseModel):
    v: str = Field(min_length=1, max_length=1)


class Pattern(BaseModel):
    v: str = Field(pattern="^[a-z]+$")


class OneWord(BaseModel):
    v: Literal["video"]


class MixedLiteral(BaseModel):
    v: Literal["a", 1, True, None, "it's"]


class IntLiteral(BaseModel):
    v: Literal[5, 10]


class Ints(BaseModel):
    v: List[int]


class FewStrs(BaseModel):
    v: List[str] = Field(min_length=1, max_length=2)


class FewInts(BaseModel):
    v: List[int] = Field(min_length=2, max_length=3)


class Timings(BaseModel):
    v: Dict[str, float]


class Table(BaseModel):
    v: Dict[str, List[LoraWeight]]


class ByNumber(BaseModel):
    v: Dict[Annotated[str, Field(min_length=2)], int]


class IntOrStr(BaseModel):
    v: Union[int, str]


class IntOrFloat(BaseModel):
    v: Union[int, float]


class FloatOrInt(BaseModel):
    v: Union[float, int]


class BoolOrInt(BaseModel):
    v: Union[bool, int]


class BoundedUnion(BaseModel):
    v: Union[
        Annotated[int, Field(ge=1)],
        Annotated[float, Field(le=0)],
        Annotated[str, Field(max_length=3)],
        List[int],
        Dict[str, int],
    ]


class NullableUnion(BaseModel):
    v: Union[ImageSize, Preset, None] = None


class ListUnion(BaseModel):
    v: Union[List[int], List[str], List[ImageSize]]


class NestedUnion(BaseModel):
    v: Union[List[Union[int, Literal["auto"]]], Dict[str, Any], Tuple[int, str], Any]


class OptionalMember(BaseModel):
    v: List[Optional[ImageSize]]


class MemberUnion(BaseModel):
    v: Union[List[Optional[int]], bool, None]


class Small(BaseModel):
    a: int


class Large(BaseModel):
    a: int
    b: int = 0


class Models(BaseModel):
    v: Union[Small, Large]


class AnyOrInt(BaseModel):
    v: Union[Any, int]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str = "Rex"


class Pet(BaseModel):
    v: Union[Cat, Dog] = Field(discriminator="kind")


class Pets(BaseModel):
    v: List[Annotated[Union[Cat, Dog], Field(discriminator="kind")]]


class Pair(BaseModel):
    v: Tuple[int, str]


class Span(BaseModel):
    v: Tuple[Optional[float], Optional[float]]


class Forbidding(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int = 1


class Allowing(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 1


class Many(BaseModel):
    a: int
    b: str
    c: Small


class Even(BaseModel):
    v: int
    w: int = 0

    @field_validator("v")
    @classmethod
    def even(cls, v):
        if v % 2:
            raise ValueError("must be even")
        return v

    @model_validator(mode="after")
    def ordered(self):
        if self.w > self.v:
            raise ValueError("w exceeds v")
        return self


class Keys(BaseModel):
    constructor: str
    toString: int = 3


class Tree(BaseModel):
    name: str
    children: List["Tree"] = []


class Names(BaseModel):
    v: Union[
        List[Union[int, Literal["auto"]]],
        Tuple[int, str],
        Dict[str, Any],
        List[Literal[1, True, None]],
        List[Annotated[Union[Cat, Dog], Field(discriminator="kind")]],
        List[None],
        Annotated[List[int], Field(min_length=1)],
        Annotated[str, Field(pattern="^a+$")],
        Annotated[float, Field(multiple_of=2)],
    ]


class Refine(BaseModel):
    v: Optional[Annotated[str, Field(min_length=3)]]


MODELS = {
    each.__name__: each
    for each in list(globals().values())
    if isinstance(each, type) and issubclass(each, BaseModel) and each is not BaseModel
}

V = lambda *texts: ['{"v":' + text + "}" for text in texts]
NUMBERS = V(
    "1", "-0", "1.0", "1.5", '"28"', '" 28 "', '"1.0"', '"1.00"', '"1.5"', '"1_000"', '"_1"', '"1__0"', '"+5"', '"-5"',
    '"0x10"', '"1e3"', '""', '" "', '"abc"', "true", "false", "null", "[]", "{}", "[1]", "12345678901234567890",
    "-12345678901234567890", '"12345678901234567890"', "9007199254740993", "1e3", "1e22", "1e400", "-1e400", "NaN",
    "Infinity", "-Infinity", '"nan"', '"inf"', '"-Infinity"', '"NaN"', '"007"', '".5"', '"5."', '"1 2"', '"٣"', '"1.0e0"',
    '"-0"', '"--5"', '"1e400"', '"+ 5"', '"-1_0"', '"0_0"', '"\\n5\\t"', '"1.0_0"', '"1."', '"infinity"', '"+inf"', '"-nan"', '"i"',
)
CASES = {
    "Int": NUMBERS,
    "Float": NUMBERS,
    "Str": V('"a"', '""', "1", "1.5", "true", "null", "[]", "{}", '"\\ud83d\\ude00"', "12345678901234567890"),
    "Bool": V(
        "true", "false", "1", "0", "1.0", "0.0", "2", "0.5", '"true"', '"TRUE"', '"True"', '"false"', '"on"', '"off"', '"yes"', '"no"',
        '"y"', '"n"', '"t"', '"f"', '"1"', '"0"', '""', '"maybe"', '" true"', "null", "[]", "{}", "12345678901234567890", "NaN", "2.0", "1e17", "1e22", "9007199254740993", "-9223372036854775808", "9223372036854775808", '"oN"', '"2"', "-1",
    ),
    "Null": V("null", "0", '""', "false"),
    "Anything": V("null", "1", '"a"', "[1,{}]", '{"a":12345678901234567890}') + ["{}"],
    "OptionalInt": V("null", "1", '"x"', "1.5") + ["{}"],
    "BoundedInt": V("3", "0", "10", "4", "-3", "12", '"9"', '"12"', "true", "12345678901234567890", "-12345678901234567891"),
    "BoundedFloat": V("0.6", "0.5", "2.5", "0.65", '"0.7"', "0.7000000001", "1", "2", "3", "NaN", "1e400", "-1e400"),
    "ClosedFloat": V("0", "-0.1", "1.5", "1.6", "-1", "2", "true", "NaN", '"2"'),
    "ShortStr": V('"ab"', '"a"', '"abcde"', '""', '"😀"', '"😀😀"', '"😀😀😀😀"', '"e\u0301e\u0301x"', "1"),
    "OneStr": V('""', '"a"', '"ab"'),
    "Pattern": V('"abc"', '"ABC"', '"abc\\n"', "1"),
    "OneWord": V('"video"', '"audio"', "1", "null") + ["{}"],
    # Not 1.0: Python finds True for it, and JSON does not tell 1.0 from 1.
    "MixedLiteral": V('"a"', "1", "true", "null", '"it\'s"', '"b"', "2", "false", "0", "[]"),
    "IntLiteral": V("5", '"5"', "5.0", "6", "true", "9007199254740993", "12345678901234567890"),
    "Ints": V("[]", "[1]", '["1",2.0,true]', '[1,"x",null]', '"12"', "1", "null", "{}", '{"0":1}', "[[1]]"),
    "FewStrs": V("[]", '["a"]', '["a","b","c"]', "[1]", "[1,2,3]", '["a",2,"c"]', "null"),
    "FewInts": V("[]", "[1]", '["x"]', '["x","y","z","w"]', "[1,2,3,4]", '[1,"x",3,4,5]', '["x",2]'),
    "Timings": V("{}", '{"a":1}', '{"a":"1.5","b":2}', '{"a":"x","b":null}', "[]", "null", '"a"', '{"":1}', '{"__proto__":1}', '{"__proto__":"x"}'),
    "Table": V('{"a":[{"path":"p"}]}', '{"a":[{"path":1}],"b":1}', '{"a":[{}]}'),
    "ByNumber": V('{"ab":1}', '{"a":1}', '{"a":"x"}'),
    "IntOrStr": V("1", '"1"', '"a"', "1.0", "1.5", "true", "null", "[]"),
    "IntOrFloat": V("1", "1.5", '"1"', '"1.5"', '"x"', "true", "null"),
    "FloatOrInt": V("1", "1.5", '"1"', '"1.5"', '"x"', "true", "9007199254740993"),
    "BoolOrInt": V("true", "1", "0", '"1"', '"true"', "2", '"x"', "1.5"),
    "BoundedUnion": V("0", "-1", "1", '"abcd"', '"abc"', '[1,"x"]', '{"a":"x"}', "null", "0.5"),
    "NullableUnion": V("null", '"square"', '"x"', "1", "{}", '{"width":0}', '{"width":"9","height":8}', "[]") + ["{}"],
    "ListUnion": V("[1]", '["a"]', '["1"]', '[{}]', '[{"width":0}]', "[1.5]", "{}", "[]"),
    "NestedUnion": V('[1,"auto"]', '[1,"x"]', '{"a":1}', "5", "[false]", '["1","cat"]'),
    "OptionalMember": V("[null,{}]", '[1,{"width":"x"}]'),
    "MemberUnion": V("[1,null]", "true", "null", '["x"]', '"x"', "1"),
    "Models": V('{"a":1}', '{"a":1,"b":2}', '{"a":"1","b":"2"}', '{"b":2}', "{}", '{"a":1,"b":"x"}', '"a"', '{"a":1,"c":1}'),
    "AnyOrInt": V("1", '"a"'),
    "Pet": V('{"kind":"cat","lives":9}', '{"kind":"dog"}', '{"kind":"cat"}', '{"kind":"cow"}', "{}", '{"kind":1}', '{"kind":null}', '{"kind":["it\'s",{"a":true}]}', "1", "null", '[]', '"cat"') + ["{}"],
    "Pets": V('[{"kind":"dog"},{"kind":"cat","lives":"x"},{"kind":"cow"}]'),
    "Pair": V('[1,"a"]', '["1","a"]', "[1]", "[]", '[1,"a",2]', '["x",1]', "null", "{}", '"ab"'),
    "Span": V("[null,1]", '["x",null]', "[0]"),
    "Forbidding": ["{}", '{"a":2,"b":1,"c":{"d":1}}', '{"b":1,"a":"x"}', '{"__proto__":1}'],
    "Allowing": ["{}", '{"a":"2","b":1}', '{"b":{"c":[1]}}', '{"__proto__":{"x":1}}'],
    "Many": ["{}", '{"a":"x","b":1,"c":1}', '{"c":{},"b":"b","a":1}', '{"a":1,"b":"b","c":{"a":1}}', '{"c":{"a":[]}}', '{"a":null,"b":null,"c":null}', '{"c":[1]}', '{"c":"s"}', '{"c":true}'],
    "Even": ['{"v":2}', '{"v":3}', '{"v":2,"w":3}', '{"v":"x","w":"y"}', '{"v":3,"w":9}'],
    "Keys": ["{}", '{"constructor":"a","toString":4}', '{"constructor":1,"toString":"x"}', '{"__proto__":{"constructor":"a"}}'],
    "Tree": ['{"name":"a","children":[{"name":"b","children":[{"name":"c"}]}]}', '{"name":"a","children":[{"children":[{"name":1}]}]}'],
    "Names": V('"b"', "1", "null", '["x"]'),
    "Refine": V("null", '"ab"', '"abc"'),
    "FluxInput": [
        '{"prompt":"a cat"}', "{}", '{"prompt":null}', '{"prompt":"x","image_size":"square_hd"}', '{"prompt":"x","image_size":"huge"}',
        '{"prompt":"x","image_size":{"width":0,"height":20000}}', '{"prompt":"x","image_size":{"width":"640","height":480.0}}',
        '{"prompt":"x","image_size":{"width":"wide"}}', '{"prompt":"x","image_size":null}', '{"prompt":"x","image_size":1024}',
        '{"prompt":"x","image_size":{}}', '{"prompt":"x","image_size":[512,512]}', '{"prompt":"x","num_inference_steps":"28"}',
        '{"prompt":"x","num_inference_steps":0,"guidance_scale":21,"num_images":5}', '{"prompt":"x","num_inference_steps":51.5}',
        '{"prompt":"x","seed":12345678901234567890}', '{"prompt":"x","seed":null}', '{"prompt":"x","seed":""}', '{"prompt":"x","seed":-1}',
        '{"prompt":"x","guidance_scale":"7.5","sync_mode":"true"}', '{"prompt":"x","guidance_scale":0.5}', '{"prompt":"x","sync_mode":"yes please"}',
        '{"prompt":1,"output_format":"gif","sync_mode":2}', '{"prompt":"x","loras":[{"path":"a"},{"path":"b","scale":2},{"scale":"x"}]}',
        '{"prompt":"x","embeddings":[{"path":"e","tokens":"<s0>"}]}', '{"prompt":"x","unknown":1,"another":{"a":[1]}}', '{"prompt":"x","loras":null}',
        '{"prompt":"x","loras":{"path":"a"}}', '{"prompt":"x","prompt":"y"}', '{"prompt":["x"],"extra":12345678901234567890}', '{"seed":12345678901234567890}',
    ],
}

# What a whole endpoint answers: bodies that are no JSON object.
BODIES = [
    "", " ", "null", "[]", "[1]", '"text"', "1", "true", "1.5", "{", '{"prompt"', '{"prompt":', '{"prompt":}', '{"prompt":"x"', '{"prompt":"x",', '{"prompt":"x",}',
    "{'prompt':1}", '{"prompt":"x"} trailing', '{"prompt":"x', '{"prompt":"\\x"}', '{"prompt":"\\u12"}', '{"prompt":"\\u12zz"}', '{"prompt":"a\nb"}', "[1,", "[1 2]", "[1,]", "nul", "tru", "-",
    "{prompt:1}", '{"a":1 "b":2}', "undefined", "NaN", '{"prompt":"x","guidance_scale":NaN}', '{"prompt":"x","seed":01}', '{"a":+1}', "\ufeff{}", "{} {}", '{"é":}', '{"😀":}', ".5", "1.", "1e", '{"a":-}', "[,1]", '{"a" 1}', '{"a":1,,}', "]", '\\', '"\\',
    '{"prompt":"x","guidance_scale":-Infinity}', "\n\n{\"a\":\n}",
]


def plain(value):
    """As JSON: what is not finite becomes text, as the serverless SDK does."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


def answer(model, text):
    try:
        # FastAPI validates parsed Python objects, with from_attributes.
        return {"value": plain(TypeAdapter(model).validate_python(json.loads(text), from_attributes=True))}
    except pydantic.ValidationError as error:
        found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        encoder = {ValueError: lambda _: {}}
        return {"errors": plain(jsonable_encoder(found, custom_encoder=encoder))}


app = fastapi.FastAPI()


@app.post("/")
def endpoint(body: FluxInput):
    return {}


@app.exception_handler(fastapi.exceptions.RequestValidationError)
def invalid(_, error):
    return fastapi.responses.JSONResponse({"detail": plain(jsonable_encoder(error.errors()))}, 422)


def body_answer(client, text):
    got = client.post("/", content=text.encode(), headers={"content-type": "application/json"})
    return {"body": text, "status": got.status_code, "detail": got.json().get("detail")}


def main():
    cases = [{"schema": name, "input": text, **answer(MODELS[name], text)} for name, texts in CASES.items() for text in texts]
    client = TestClient(app)
    bodies = [body_answer(client, text) for text in BODIES]
    versions = {"pydantic": pydantic.VERSION, "fastapi": fastapi.__version__}
    sep = ",\n    "
    lines = lambda rows: "[\n    " + sep.join(json.dumps(row, ensure_ascii=True) for row in rows) + "\n  ]"
    sys.stdout.write('{\n  "versions": %s,\n  "cases": %s,\n  "bodies": %s\n}\n' % (json.dumps(versions), lines(cases), lines(bodies)))


main()
