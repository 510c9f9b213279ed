"""Every setting, read once from the environment (`FLOWGATE_…`) and passed down."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """One frozen value. No secret has a default."""

    model_config = SettingsConfigDict(env_prefix="FLOWGATE_", frozen=True, extra="ignore")

    data: Path = Field(default=Path("flowgate-data"), description="Folder for everything the control plane writes.")
    segments: Path | None = Field(default=None, description="Folder of the tap's sealed segments; default: `segments` in the data folder.")
    api_listen: str = Field(default="127.0.0.1:8000", description="Address of the API.")
    opamp_listen: str = Field(default="127.0.0.1:4320", description="Address of the OpAMP endpoint; the API serves it too.")
    collector: Path = Field(
        default=Path("gateway/build/otelcol-flowgate"), description="The gateway's own binary, which judges configurations."
    )
    base_config: Path = Field(
        default=Path("gateway/base.yaml"), description="Base configuration of the group `default`, used at the first start."
    )
    query_logs: Path | None = Field(
        default=None, description="The one folder below which sources of kind `query_log` may be read; none: no such source can be fetched."
    )

    @property
    def segment_root(self) -> Path:
        return self.segments or self.data / "segments"
