"""What each kind of carrier needs to be told: a JSON Schema of its settings, from which a form can be drawn.

Beside JSON Schema's own words (2020-12) a property has ``x-titles`` (``zh-CN`` and ``en``; ``title`` is English) and
``x-order``; a secret is ``writeOnly``: it is stored sealed, and shown masked. Facts of the dialects are the carriers'
public documents: Alibaba Dyplsapi 2017-05-25, Huawei PrivateNumber, Tencent npp 2019-08-23, and the operators' PNM.
"""

from __future__ import annotations

from typing import Any

import jsonschema

MASK = "********"
"""Stands for a secret that is there; sent back, it says that the secret stays."""
TEXT_LENGTH_MAX = 2000

_END = r"$(?!\n)"
"""Python's ``$`` lets a line feed follow; what is stored goes into headers."""
_HOST = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?" + _END


class ConfigInvalid(ValueError):
    """``field`` says which setting and ``reason`` why; neither holds a secret."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def _text(zh: str, en: str, *, length_max: int = 200, **more: Any) -> dict[str, Any]:
    shape = {"type": "string", "minLength": 1, "maxLength": length_max, "pattern": r"^[^\x00-\x1f\x7f]+" + _END}
    return {**shape, "title": en, "x-titles": {"zh-CN": zh, "en": en}, **more}


def _secret(zh: str, en: str) -> dict[str, Any]:
    return _text(zh, en, length_max=TEXT_LENGTH_MAX, writeOnly=True)


def _host(default: str) -> dict[str, Any]:
    return _text("接口地址", "Host", pattern=_HOST, default=default)


def _choice(zh: str, en: str, *values: str) -> dict[str, Any]:
    return {"title": en, "x-titles": {"zh-CN": zh, "en": en}, "enum": list(values), "default": values[0]}


def _schema(zh: str, en: str, required: tuple[str, ...], **properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": en,
        "x-titles": {"zh-CN": zh, "en": en},
        "type": "object",
        "properties": {
            name: {**shape, "x-order": order} for order, (name, shape) in enumerate(properties.items(), start=1)
        },
        "required": list(required),
        "additionalProperties": False,
    }


SCHEMAS: dict[str, dict[str, Any]] = {
    "sip_trunk": _schema(
        "SIP 中继",
        "SIP trunk",
        (),
        contact=_text("联系人", "Contact"),
        contract=_text("合同编号", "Contract number"),
    ),
    "alibaba_dypls": _schema(
        "阿里云号码隐私保护",
        "Alibaba Cloud Dyplsapi",
        ("access_key_id", "access_key_secret", "pool_key"),
        host=_host("dyplsapi.aliyuncs.com"),
        access_key_id=_text("AccessKey ID", "Access key ID"),
        access_key_secret=_secret("AccessKey Secret", "Access key secret"),
        pool_key=_text("号码池 PoolKey", "Pool key"),
        partner_key=_text("合作伙伴 Key", "Partner key"),
    ),
    "huawei_private_number": _schema(
        "华为云隐私保护通话",
        "Huawei Cloud PrivateNumber",
        ("host", "app_key", "app_secret"),
        host=_host("rtcapi.cn-north-1.myhuaweicloud.com:12543"),
        app_key=_text("应用 AppKey", "App key"),
        app_secret=_secret("应用 AppSecret", "App secret"),
        authentication=_choice("鉴权方式", "Authentication", "AKSK", "WSSE"),
        record_flag=_choice("录音标志类型", "Type of the recording flag", "string", "boolean"),
    ),
    "tencent_npp": _schema(
        "腾讯云号码保护",
        "Tencent Cloud number protection",
        ("biz_app_id", "secret_id", "secret_key"),
        host=_host("npp.tencentcloudapi.com"),
        biz_app_id=_text("业务 AppId", "Business app ID"),
        secret_id=_text("SecretId", "Secret ID"),
        secret_key=_secret("SecretKey", "Secret key"),
    ),
    "pnm": _schema(
        "虚拟运营商 (PNM)",
        "Virtual operator (PNM)",
        ("host", "appkey", "secret"),
        host=_text("接口地址", "Host", pattern=_HOST),
        appkey=_text("AppKey", "App key"),
        secret=_secret("Secret", "Secret"),
        pool_key=_text("号码池 PoolKey", "Pool key"),
        area_code=_choice("区号格式", "Form of area codes", "010", "10"),
    ),
}
"""By kind."""


def secret_fields(kind: str) -> frozenset[str]:
    properties = SCHEMAS[kind]["properties"]
    return frozenset(name for name, shape in properties.items() if shape.get("writeOnly"))


def check_config(kind: str, config: dict[str, Any]) -> None:
    """Raises ConfigInvalid for the first setting that the kind does not take. Secrets are in the open here."""
    validator = jsonschema.Draft202012Validator(SCHEMAS[kind])
    errors = sorted(validator.iter_errors(config), key=lambda error: [str(each) for each in error.absolute_path])
    if not errors:
        return
    error = errors[0]
    # The library's own message repeats the value, which may be a secret.
    match error.validator:
        case "required":
            missing = next(name for name in SCHEMAS[kind]["required"] if name not in config)
            raise ConfigInvalid(f"config.{missing}", "is missing")
        case "additionalProperties":
            known = SCHEMAS[kind]["properties"]
            unknown = next(name for name in config if name not in known)
            raise ConfigInvalid(f"config.{unknown[:64]}", f"is none of: {', '.join(known)}")
        case "enum":
            raise ConfigInvalid(_field(error), f"is none of: {', '.join(map(str, error.validator_value))}")
        case "type":
            raise ConfigInvalid(_field(error), f"is no {error.validator_value}")
        case _:
            raise ConfigInvalid(_field(error), "is empty, too long, or has characters that it cannot have")


def _field(error: jsonschema.ValidationError) -> str:
    return ".".join(("config", *map(str, error.absolute_path)))
