# SPDX-License-Identifier: Apache-2.0
"""Every line the command line says to a person, in English and Korean side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

Language: TypeAlias = Literal["en", "ko"]

CATALOGUE: Final[dict[str, dict[Language, str]]] = {
    # serve
    "ready": {
        "en": "Madang is ready at {url} (data in {data}; stop with Ctrl+C)",
        "ko": "마당이 준비되었습니다: {url} (데이터: {data}, 끝내려면 Ctrl+C)",
    },
    "restarting": {
        "en": "The serving process ended unexpectedly ({reason}); starting it again in {wait_s:.1f} s",
        "ko": "서비스 프로세스가 예기치 않게 끝났습니다({reason}). {wait_s:.1f}초 뒤에 다시 시작합니다",
    },
    "gave_up": {
        "en": "The serving process could not start ({reason}); the lines above say why",
        "ko": "서비스 프로세스를 시작하지 못했습니다({reason}). 까닭은 위에 있습니다",
    },
    "killed": {
        "en": "The serving process did not stop in time and was ended by force; what it had acknowledged is on disk",
        "ko": "서비스 프로세스가 제때 멈추지 않아 강제로 끝냈습니다. 응답한 내용은 디스크에 있습니다",
    },
    "port_busy": {
        "en": "Port {port} on {host} is in use; stop what uses it, or choose another with --port (0 picks a free one)",
        "ko": "{host}의 {port}번 포트는 이미 쓰이고 있습니다. --port로 다른 포트를 고르세요(0: 빈 포트)",
    },
    "port_denied": {
        "en": "Port {port} on {host} may not be used by this user; choose one above 1023 with --port",
        "ko": "이 사용자는 {host}의 {port}번 포트를 쓸 수 없습니다. --port로 1023보다 큰 포트를 고르세요",
    },
    "address_unusable": {
        "en": "The address {host} cannot be listened on: {reason}",
        "ko": "{host} 주소에서 기다릴 수 없습니다: {reason}",
    },
    "data_in_use": {
        "en": "Another hub is using the data folder {data}; stop it, or choose another folder with --data",
        "ko": "다른 허브가 데이터 폴더 {data}를 쓰고 있습니다. 그것을 멈추거나 --data로 다른 폴더를 고르세요",
    },
    "data_newer": {
        "en": "The data folder {data} cannot be opened by this version: {reason}",
        "ko": "이 버전으로는 데이터 폴더 {data}를 열 수 없습니다: {reason}",
    },
    "data_unusable": {
        "en": "The data folder {data} cannot be used: {reason}",
        "ko": "데이터 폴더 {data}를 쓸 수 없습니다: {reason}",
    },
    # demo
    "demo_begin": {
        "en": "{city} is being brought to life; the first time takes a little while",
        "ko": "{city}을(를) 살리는 중입니다. 처음에는 조금 걸립니다",
    },
    "demo_reading": {
        "en": "  reading {source}",
        "ko": "  {source} 읽는 중",
    },
    "demo_loading": {
        "en": "  {source}: {done:,} of {total:,}",
        "ko": "  {source}: {total:,}개 가운데 {done:,}개",
    },
    "demo_backfilling": {
        "en": "  history of the day before: hour {done} of {total}",
        "ko": "  지난 하루의 이력: {total}시간 가운데 {done}시간",
    },
    "demo_report": {
        "en": "{rows:,} rows read: {used:,} used, {quarantined:,} kept apart with a reason in {folder}",
        "ko": "{rows:,}행을 읽어 {used:,}행을 쓰고 {quarantined:,}행은 까닭과 함께 {folder}에 따로 두었습니다",
    },
    "demo_ready": {
        "en": "{city} is alive at {url} after {seconds:.1f} s (data in {data}; stop with Ctrl+C). Things to try:",
        "ko": "{city}이(가) {seconds:.1f}초 만에 {url}에서 살아났습니다(데이터: {data}, 끝내려면 Ctrl+C). 해 볼 것:",
    },
    "demo_try": {
        "en": "  {title}: {command}",
        "ko": "  {title}: {command}",
    },
    "demo_summary": {
        "en": "{demo_time}  {entities:,} entities  {changes_per_s:.1f} changes/s  {history_rows:,} history rows  "
        "{notifications:,} notifications  speed {speed:g}",
        "ko": "{demo_time}  개체 {entities:,}  초당 변경 {changes_per_s:.1f}  이력 {history_rows:,}행  "
        "알림 {notifications:,}  배속 {speed:g}",
    },
    "demo_stopped": {
        "en": "The city sleeps; the next start goes on from here.",
        "ko": "도시가 잠듭니다. 다음에 시작하면 여기서 이어집니다.",
    },
    "city_missing": {
        "en": "There is no city {city!r}: name a folder with a city.toml, or an example such as daejeon",
        "ko": "도시 {city!r}가 없습니다. city.toml이 있는 폴더나 daejeon 같은 예시를 적으세요",
    },
    "city_invalid": {
        "en": "The city {city} cannot be played: {reason}",
        "ko": "도시 {city}를 재생할 수 없습니다: {reason}",
    },
    # settings
    "setting_invalid": {
        "en": "{where} {value!r} is not valid: {reason}",
        "ko": "{where} {value!r}는 올바르지 않습니다: {reason}",
    },
    "store_later": {
        "en": "The PostgreSQL store comes with a later version; leave out --store to use SQLite in the data folder",
        "ko": "PostgreSQL 저장소는 다음 버전에 나옵니다. --store를 빼면 데이터 폴더의 SQLite를 씁니다",
    },
    "store_unknown": {
        "en": "{store!r} is not a store this version knows; leave out --store to use SQLite in the data folder",
        "ko": "{store!r}는 이 버전이 모르는 저장소입니다. --store를 빼면 데이터 폴더의 SQLite를 씁니다",
    },
    "workers_sqlite": {
        "en": "SQLite allows one writing process, so --workers must be 1; many workers come with the PostgreSQL store",
        "ko": "SQLite는 쓰는 프로세스가 하나라서 --workers는 1입니다. 여러 개는 PostgreSQL 저장소와 함께 나옵니다",
    },
    "access_loopback": {
        "en": "{host} can be reached from outside, and this version has no log-in: it listens on loopback only",
        "ko": "{host}는 밖에서 닿을 수 있지만 이 버전에는 로그인이 없어, 자기 컴퓨터 주소(127.0.0.1)에서만 기다립니다",
    },
    # doctor
    "doctor_good": {
        "en": "good     {text}",
        "ko": "좋음   {text}",
    },
    "doctor_note": {
        "en": "note     {text}",
        "ko": "알림   {text}",
    },
    "doctor_problem": {
        "en": "PROBLEM  {text}",
        "ko": "문제   {text}",
    },
    "doctor_all_good": {
        "en": "Nothing is wrong with this installation.",
        "ko": "이 설치에는 문제가 없습니다.",
    },
    "doctor_problems": {
        "en": "{count} problem(s) found.",
        "ko": "문제 {count}개를 찾았습니다.",
    },
    "python_good": {
        "en": "Python {version}",
        "ko": "파이썬 {version}",
    },
    "python_old": {
        "en": "Python {version} is too old; Madang needs 3.11 or newer",
        "ko": "파이썬 {version}은 너무 오래되었습니다. 3.11 이상이 필요합니다",
    },
    "package_missing": {
        "en": "The package {package} is missing or broken ({reason}); run make setup again",
        "ko": "패키지 {package}가 없거나 깨졌습니다({reason}). make setup을 다시 실행하세요",
    },
    "packages_good": {
        "en": "All packages the hub needs can be loaded",
        "ko": "필요한 패키지를 모두 불러올 수 있습니다",
    },
    "mqtt_missing": {
        "en": "The package aiomqtt is missing: notifications over MQTT will not work, all else will",
        "ko": "aiomqtt 패키지가 없습니다. MQTT 알림만 되지 않고 나머지는 됩니다",
    },
    "sqlite_good": {
        "en": "SQLite {version} with JSONB, R*Tree and full-text search",
        "ko": "SQLite {version} (JSONB, R*Tree, 전문 검색 포함)",
    },
    "sqlite_lacks": {
        "en": "SQLite {version} lacks {features}; install the apsw package from the lock file",
        "ko": "SQLite {version}에 {features} 기능이 없습니다. 잠금 파일의 apsw 패키지를 설치하세요",
    },
    "data_absent": {
        "en": "The data folder {data} does not exist yet; madang serve will make it",
        "ko": "데이터 폴더 {data}가 아직 없습니다. madang serve가 만듭니다",
    },
    "data_good": {
        "en": "The data folder {data} can be read and written",
        "ko": "데이터 폴더 {data}를 읽고 쓸 수 있습니다",
    },
    "data_denied": {
        "en": "The data folder {data} cannot be read and written by this user; check its owner and rights",
        "ko": "이 사용자는 데이터 폴더 {data}를 읽고 쓸 수 없습니다. 소유자와 권한을 확인하세요",
    },
    "data_running": {
        "en": "A hub is running on {data}, so its content was not checked",
        "ko": "{data}에서 허브가 돌고 있어 내용은 확인하지 않았습니다",
    },
    "data_older": {
        "en": "The data in {data} are of an earlier version; the next start brings them up to date",
        "ko": "{data}의 데이터는 이전 버전의 것입니다. 다음에 시작할 때 새 버전에 맞춥니다",
    },
    "store_good": {
        "en": "The stored data is whole",
        "ko": "저장된 데이터에 이상이 없습니다",
    },
    "store_wrong": {
        "en": "The stored data: {reason}",
        "ko": "저장된 데이터: {reason}",
    },
    "disk_good": {
        "en": "{free_gb:.1f} GB free on the disk of the data folder",
        "ko": "데이터 폴더의 디스크에 {free_gb:.1f} GB가 비어 있습니다",
    },
    "disk_low": {
        "en": "Only {free_gb:.1f} GB free on the disk of the data folder; the hub stops writing when it is full",
        "ko": "데이터 폴더의 디스크에 {free_gb:.1f} GB만 비어 있습니다. 가득 차면 허브는 쓰기를 멈춥니다",
    },
    "port_good": {
        "en": "Port {port} on {host} is free",
        "ko": "{host}의 {port}번 포트가 비어 있습니다",
    },
    "port_taken": {
        "en": "Port {port} on {host} is in use (by a running hub, perhaps); madang serve would need another --port",
        "ko": "{host}의 {port}번 포트가 쓰이고 있습니다(돌고 있는 허브일 수 있음). --port로 바꿀 수 있습니다",
    },
    "contexts_good": {
        "en": "The built-in @contexts can be read",
        "ko": "내장 @context를 읽을 수 있습니다",
    },
    "contexts_wrong": {
        "en": "The built-in @contexts cannot be read: {reason}",
        "ko": "내장 @context를 읽을 수 없습니다: {reason}",
    },
    "clock_good": {
        "en": "The clock says {now} (UTC)",
        "ko": "시계는 {now}(UTC)입니다",
    },
    "clock_wrong": {
        "en": "The clock says {now} (UTC), before this version was made; set it, as every change is stamped with it",
        "ko": "시계가 {now}(UTC)로, 이 버전이 만들어지기 전입니다. 모든 변경에 이 시각이 찍히니 맞추세요",
    },
}


class Messages:
    """The catalogue in one language."""

    def __init__(self, language: Language) -> None:
        self.language = language

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Messages:
        """Return the catalogue in the language of MADANG_LANG, else of the locale, else English."""
        wanted = next(
            (value for name in ("MADANG_LANG", "LC_ALL", "LC_MESSAGES", "LANG") if (value := environment.get(name))), ""
        )
        return cls("ko" if wanted.lower().startswith("ko") else "en")

    def line(self, message: str, /, **values: object) -> str:
        """Return a message with its values filled in, on one line."""
        return CATALOGUE[message][self.language].format(**values).replace("\n", " ")
