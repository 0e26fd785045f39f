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
    "ready_database": {
        "en": "Madang is ready at {url} (data in PostgreSQL at {store}; stop with Ctrl+C)",
        "ko": "마당이 준비되었습니다: {url} (데이터: PostgreSQL {store}, 끝내려면 Ctrl+C)",
    },
    "access_open": {
        "en": "No log-in: everybody on this machine may do everything",
        "ko": "로그인 없음: 이 컴퓨터를 쓰는 누구나 무엇이든 할 수 있습니다",
    },
    "first_administrator": {
        "en": "The hub has no administrator yet; this link makes the first one, once, within 24 hours: {link}",
        "ko": "아직 관리자가 없습니다. 이 링크로 24시간 안에 한 번, 첫 관리자를 만듭니다: {link}",
    },
    "restarting_worker": {
        "en": "Worker {worker} ended unexpectedly ({reason}); starting it again in {wait_s:.1f} s",
        "ko": "{worker}번 작업 프로세스가 예기치 않게 끝났습니다({reason}). {wait_s:.1f}초 뒤에 다시 시작합니다",
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
    "database_waiting": {
        "en": "The database {store} does not answer yet; waiting for it up to {wait_s:.0f} s",
        "ko": "데이터베이스 {store}가 아직 답하지 않습니다. {wait_s:.0f}초까지 기다립니다",
    },
    "database_away": {
        "en": "The database {store} did not answer within {wait_s:.0f} s; start it, or set MADANG_STORE_WAIT_S",
        "ko": "데이터베이스 {store}가 {wait_s:.0f}초 안에 답하지 않았습니다. 켜거나 MADANG_STORE_WAIT_S를 바꾸세요",
    },
    "database_newer": {
        "en": "The database {store} cannot be opened by this version: {reason}",
        "ko": "이 버전으로는 데이터베이스 {store}를 열 수 없습니다: {reason}",
    },
    "database_login": {
        "en": "The database {store} refuses the user or the password; see MADANG_STORE, PGPASSWORD and pg_hba.conf",
        "ko": "데이터베이스 {store}가 사용자나 암호를 거절합니다. MADANG_STORE, PGPASSWORD, pg_hba.conf를 보세요",
    },
    "database_unknown": {
        "en": "There is no database {store}; make it with CREATE DATABASE, or name another with --store",
        "ko": "데이터베이스 {store}가 없습니다. CREATE DATABASE로 만들거나 --store로 다른 것을 적으세요",
    },
    "database_rights": {
        "en": "This user may not do what is needed in the database {store}; let the user own it, or grant the rights",
        "ko": "이 사용자는 데이터베이스 {store}에서 필요한 일을 할 수 없습니다. 소유자로 하거나 권한을 주세요",
    },
    "database_unusable": {
        "en": "The database {store} cannot be used: {reason}",
        "ko": "데이터베이스 {store}를 쓸 수 없습니다: {reason}",
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
    # store copy, backup, restore
    "move_copying": {
        "en": "copying {section}: {done:,} of {total:,}",
        "ko": "{section} 옮기는 중: {total:,} 가운데 {done:,}",
    },
    "move_verifying": {
        "en": "verifying {section}: {done:,} of {total:,}",
        "ko": "{section} 확인하는 중: {total:,} 가운데 {done:,}",
    },
    "move_equal": {
        "en": "  {section:<10} {rows:>14,} rows  sha256 {sha256}",
        "ko": "  {section:<10} {rows:>14,}행  sha256 {sha256}",
    },
    "store_copied": {
        "en": "Copied {rows:,} rows, up to change {sequence}, from {source} to {target}: the same on both sides",
        "ko": "{source}의 {rows:,}행(변경 {sequence}까지)을 {target}(으)로 옮겼고, 양쪽이 같습니다",
    },
    "backup_made": {
        "en": "Backed up {rows:,} rows, up to change {sequence}, of {place} in {file} ({size_mb:,.1f} MB, read back)",
        "ko": "{place}의 {rows:,}행(변경 {sequence}까지)을 {file}에 백업하고 다시 읽어 확인했습니다({size_mb:,.1f} MB)",
    },
    "backup_good": {
        "en": "{file} is whole: {rows:,} rows of a {store} store, up to change {sequence}, as of {moment}",
        "ko": "{file}에 이상이 없습니다: {store} 저장소의 {rows:,}행(변경 {sequence}까지), {moment} 기준",
    },
    "restored": {
        "en": "Restored {rows:,} rows, up to change {sequence}, as of {moment}, in {place}: the same as in the backup",
        "ko": "{moment} 기준 {rows:,}행(변경 {sequence}까지)을 {place}에 되살렸고, 백업과 같습니다",
    },
    "place_unknown": {
        "en": "{place!r} is not a store: name a data folder (FOLDER or sqlite:FOLDER) or postgresql://…",
        "ko": "{place!r}는 저장소가 아닙니다. 데이터 폴더(FOLDER 또는 sqlite:FOLDER)나 postgresql://…을 적으세요",
    },
    "address_invalid": {
        "en": "The address of the database is not valid: {reason}",
        "ko": "데이터베이스 주소가 올바르지 않습니다: {reason}",
    },
    "move_no_database": {
        "en": "There is no database {place}; make it, or correct the address",
        "ko": "데이터베이스 {place}가 없습니다. 만들거나 주소를 고치세요",
    },
    "move_not_let_in": {
        "en": "The database {place} does not let this user in; correct the user and the password in the address",
        "ko": "데이터베이스 {place}가 이 사용자를 들이지 않습니다. 주소의 사용자와 비밀번호를 고치세요",
    },
    "move_no_city": {
        "en": "There is no city in {place}: no hub has kept anything there",
        "ko": "{place}에는 도시가 없습니다. 허브가 저장한 것이 없습니다",
    },
    "move_older": {
        "en": "The data in {place} are of an earlier version; start this version on them once, then try again",
        "ko": "{place}의 데이터는 이전 버전의 것입니다. 이 버전의 허브를 한 번 켠 뒤 다시 하세요",
    },
    "move_same": {
        "en": "{place} is both the source and the target; name another target",
        "ko": "{place}는 원본이자 대상입니다. 다른 대상을 적으세요",
    },
    "move_not_empty": {
        "en": "{place} holds a city already, and nothing is ever written over one; name an empty folder or database",
        "ko": "{place}에 이미 도시가 있어 덮어쓰지 않습니다. 빈 폴더나 빈 데이터베이스를 적으세요",
    },
    "move_in_use": {
        "en": "A hub is using {place}; stop it, or name an empty folder or database that no hub uses",
        "ko": "허브가 {place}를 쓰고 있습니다. 그것을 멈추거나, 허브가 쓰지 않는 빈 폴더나 데이터베이스를 적으세요",
    },
    "move_not_postgres": {
        "en": "PostgreSQL cannot hold the name {name!r}: names have no U+0000 and ids at most {bytes} bytes",
        "ko": "PostgreSQL은 이름 {name!r}를 담을 수 없습니다. 이름에 U+0000이 없고 식별자는 {bytes}바이트까지입니다",
    },
    "move_damaged": {
        "en": "The source is damaged: {missing} rows of its {section} belong to nothing; run madang doctor",
        "ko": "원본이 손상되었습니다. {section} 가운데 {missing}행이 속한 데가 없습니다. madang doctor를 실행하세요",
    },
    "move_differs": {
        "en": "What was written does not read back as the source ({sections}); all of it was undone",
        "ko": "쓴 것을 다시 읽으니 원본과 다릅니다({sections}). 모두 되돌렸습니다",
    },
    "move_refused": {
        "en": "Nothing was changed: {reason}",
        "ko": "아무것도 바꾸지 않았습니다: {reason}",
    },
    "move_failed": {
        "en": "It did not succeed, and what was begun was undone: {reason}",
        "ko": "하지 못했고, 시작한 것은 되돌렸습니다: {reason}",
    },
    "move_interrupted": {
        "en": "Interrupted; what was begun was undone",
        "ko": "중단했습니다. 시작한 것은 되돌렸습니다",
    },
    "backup_exists": {
        "en": "{file} is there already, and nothing is ever written over a backup; name another file",
        "ko": "{file}이(가) 이미 있어 덮어쓰지 않습니다. 다른 파일을 적으세요",
    },
    "backup_no_folder": {
        "en": "There is no folder {folder} to put a backup in",
        "ko": "백업을 둘 폴더 {folder}가 없습니다",
    },
    "backup_under_way": {
        "en": "Another backup is being written to {file} right now",
        "ko": "다른 백업이 지금 {file}에 쓰이고 있습니다",
    },
    "backup_unwritable": {
        "en": "The backup {file} cannot be written: {reason}",
        "ko": "백업 {file}을(를) 쓸 수 없습니다: {reason}",
    },
    "backup_differs": {
        "en": "The backup {file} does not read back as it was written, so it was removed; check the disk",
        "ko": "백업 {file}을(를) 다시 읽으니 쓴 것과 달라 지웠습니다. 디스크를 확인하세요",
    },
    "archive_unreadable": {
        "en": "The backup {file} cannot be read: {reason}",
        "ko": "백업 {file}을(를) 읽을 수 없습니다: {reason}",
    },
    "archive_foreign": {
        "en": "{file} is not a backup of Madang",
        "ko": "{file}은(는) 마당의 백업이 아닙니다",
    },
    "archive_damaged": {
        "en": "The backup {file} is damaged or cut short; take another one",
        "ko": "백업 {file}이(가) 손상되었거나 잘렸습니다. 다른 백업을 쓰세요",
    },
    "archive_newer": {
        "en": "The backup {file} has format {version}, and this version reads format {known}; install a newer one",
        "ko": "백업 {file}은 형식 {version}인데 이 버전은 형식 {known}만 읽습니다. 더 새 버전을 설치하세요",
    },
    "archive_content": {
        "en": "The backup holds what no city has ({reason}); all that was written was undone",
        "ko": "백업에 도시에 없을 내용이 있습니다({reason}). 쓴 것은 모두 되돌렸습니다",
    },
    # token
    "token_made": {
        "en": "Token {id} is made. It is shown this once; keep it in a safe place:",
        "ko": "토큰 {id}을(를) 만들었습니다. 지금 한 번만 보여 주니 안전한 곳에 적어 두세요:",
    },
    "token_none": {
        "en": "There are no tokens",
        "ko": "토큰이 없습니다",
    },
    "token_revoked": {
        "en": "Token {id} counts no more",
        "ko": "토큰 {id}은(는) 이제 쓸 수 없습니다",
    },
    "token_refused": {
        "en": "Nothing was changed: {reason}",
        "ko": "바꾼 것이 없습니다: {reason}",
    },
    "token_failed": {
        "en": "The tokens could not be reached, and nothing was changed: {reason}",
        "ko": "토큰에 닿지 못해 바꾼 것이 없습니다: {reason}",
    },
    "token_tenant_twice": {
        "en": "{role} names a tenant already; leave out --tenant, or what follows the @",
        "ko": "{role}에 이미 테넌트가 있습니다. --tenant를 빼거나 @ 뒤를 빼세요",
    },
    "token_expires": {
        "en": "--expires {text!r} is not valid: allowed are 90d, 12h, 4w, or a moment such as 2027-01-31T00:00:00Z",
        "ko": "--expires {text!r}는 올바르지 않습니다. 90d, 12h, 4w 또는 2027-01-31T00:00:00Z처럼 적으세요",
    },
    "token_two_places": {
        "en": "With --url the hub itself is asked; leave out --data and --store, or leave out --url",
        "ko": "--url은 돌고 있는 허브에 묻습니다. --data와 --store를 빼거나 --url을 빼세요",
    },
    "token_url": {
        "en": "--url is not the address of a hub; allowed is for example http://127.0.0.1:8080",
        "ko": "--url이 허브의 주소가 아닙니다. http://127.0.0.1:8080처럼 적으세요",
    },
    "token_needed": {
        "en": "With --url, the variable {variable} must hold an administrator's token",
        "ko": "--url을 쓰려면 환경 변수 {variable}에 관리자 토큰이 있어야 합니다",
    },
    "token_in_use": {
        "en": "A hub is running on {data}; ask it instead, with --url and an administrator's token in MADANG_TOKEN",
        "ko": "{data}에서 허브가 돌고 있습니다. --url과 환경 변수 MADANG_TOKEN의 관리자 토큰으로 그 허브에 물으세요",
    },
    "token_no_data": {
        "en": "There is no hub's data in {data}; name the folder with --data, or start madang serve there once",
        "ko": "{data}에 허브의 데이터가 없습니다. --data로 폴더를 적거나 madang serve를 한 번 시작하세요",
    },
    "token_hub_away": {
        "en": "The hub does not answer: {reason}",
        "ko": "허브가 답하지 않습니다: {reason}",
    },
    "token_no_hub": {
        "en": "What answers at this address is not a hub",
        "ko": "이 주소에서 답하는 것은 허브가 아닙니다",
    },
    # settings
    "setting_invalid": {
        "en": "{where} {value!r} is not valid: {reason}",
        "ko": "{where} {value!r}는 올바르지 않습니다: {reason}",
    },
    "store_unknown": {
        "en": "{store!r} is not a store this version knows; leave out --store to use SQLite in the data folder",
        "ko": "{store!r}는 이 버전이 모르는 저장소입니다. --store를 빼면 데이터 폴더의 SQLite를 씁니다",
    },
    "store_invalid": {
        "en": "The address of the database in --store is not valid: {reason}",
        "ko": "--store의 데이터베이스 주소가 올바르지 않습니다: {reason}",
    },
    "workers_sqlite": {
        "en": "SQLite allows one writing process, so --workers must be 1; several need PostgreSQL, with --store",
        "ko": "SQLite는 쓰는 프로세스가 하나라서 --workers는 1입니다. 여럿이려면 --store로 PostgreSQL을 쓰세요",
    },
    "access_loopback": {
        "en": "{host} can be reached from outside; without a log-in (--access open) the hub listens on loopback only",
        "ko": "{host}는 밖에서 닿을 수 있습니다. 로그인 없이(--access open)는 127.0.0.1에서만 기다립니다",
    },
    "oidc_issuer_invalid": {
        "en": "MADANG_OIDC_ISSUER is not the URL of an issuer: allowed are https://…, and http://… on loopback only",
        "ko": "MADANG_OIDC_ISSUER가 발급자의 URL이 아닙니다. https://…만 되고, http://…는 자기 컴퓨터 주소만 됩니다",
    },
    "oidc_audience_missing": {
        "en": "MADANG_OIDC_ISSUER is set, so MADANG_OIDC_AUDIENCE must say whom its tokens are made for",
        "ko": "MADANG_OIDC_ISSUER가 있으니, 토큰이 누구를 위해 만들어졌는지 MADANG_OIDC_AUDIENCE에 적어야 합니다",
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
    "postgresql_good": {
        "en": "PostgreSQL {version} at {store} answers",
        "ko": "{store}의 PostgreSQL {version}이 답합니다",
    },
    "postgresql_old": {
        "en": "PostgreSQL {version} is too old; Madang needs {oldest} or newer",
        "ko": "PostgreSQL {version}은 너무 오래되었습니다. {oldest} 이상이 필요합니다",
    },
    "database_silent": {
        "en": "The database {store} does not answer: {reason}",
        "ko": "데이터베이스 {store}가 답하지 않습니다: {reason}",
    },
    "database_empty": {
        "en": "The database {store} has no tables of Madang yet; madang serve will make them",
        "ko": "데이터베이스 {store}에 아직 마당의 표가 없습니다. madang serve가 만듭니다",
    },
    "database_denied": {
        "en": "This user may not make tables in the database {store}; grant CREATE on the database",
        "ko": "이 사용자는 데이터베이스 {store}에 표를 만들 수 없습니다. 데이터베이스의 CREATE 권한을 주세요",
    },
    "database_only_read": {
        "en": "The database {store} takes no writes (a standby, or default_transaction_read_only)",
        "ko": "데이터베이스 {store}에 쓸 수 없습니다(대기 서버이거나 default_transaction_read_only)",
    },
    "schema_good": {
        "en": "The tables are of this version (schema {version})",
        "ko": "표가 이 버전의 것입니다(스키마 {version})",
    },
    "schema_older": {
        "en": "The tables are of an older version (schema {version}); madang serve brings them to {known}",
        "ko": "표가 이전 버전의 것입니다(스키마 {version}). madang serve가 {known}으로 올립니다",
    },
    "schema_newer": {
        "en": "The tables are of a newer version (schema {version}, this version knows up to {known})",
        "ko": "표가 더 새로운 버전의 것입니다(스키마 {version}, 이 버전은 {known}까지 압니다)",
    },
    "tables_good": {
        "en": "This user may read and write all tables",
        "ko": "이 사용자는 모든 표를 읽고 쓸 수 있습니다",
    },
    "tables_denied": {
        "en": "This user may not read and write all tables: {names}; grant SELECT, INSERT, UPDATE and DELETE",
        "ko": "이 사용자가 읽고 쓸 수 없는 표가 있습니다: {names}. SELECT, INSERT, UPDATE, DELETE 권한을 주세요",
    },
    "partition_good": {
        "en": "The change log has its partition for this month",
        "ko": "변경 기록에 이번 달 파티션이 있습니다",
    },
    "partition_absent": {
        "en": "The change log has no partition for this month yet; the first write makes it",
        "ko": "변경 기록에 이번 달 파티션이 아직 없습니다. 첫 쓰기가 만듭니다",
    },
    "partition_denied": {
        "en": "The change log has no partition for this month, and this user may not make it; grant CREATE on schema",
        "ko": "변경 기록에 이번 달 파티션이 없고 이 사용자는 만들 수 없습니다. 스키마의 CREATE 권한을 주세요",
    },
    "clocks_good": {
        "en": "The clocks of the hub and of the database agree (apart by {seconds:.3f} s)",
        "ko": "허브와 데이터베이스의 시계가 맞습니다(차이 {seconds:.3f}초)",
    },
    "clocks_differ": {
        "en": "The clocks of the hub and of the database are {seconds:.1f} s apart; let both follow a time server",
        "ko": "허브와 데이터베이스의 시계가 {seconds:.1f}초 다릅니다. 둘 다 시간 서버를 따르게 하세요",
    },
    "durability_good": {
        "en": "The database waits for the disk at every commit",
        "ko": "데이터베이스가 커밋마다 디스크를 기다립니다",
    },
    "durability_off": {
        "en": "The database has {names} off: acknowledged writes can be lost when the machine or the server crashes",
        "ko": "데이터베이스에서 {names} 설정이 꺼져 있어, 장애가 나면 응답한 쓰기를 잃을 수 있습니다",
    },
    "connections_good": {
        "en": "The database allows {allowed} connections; {workers} worker(s) here need up to {needed}",
        "ko": "데이터베이스가 연결 {allowed}개를 허용하고, 여기 작업 프로세스 {workers}개는 {needed}개까지 씁니다",
    },
    "connections_few": {
        "en": "The database allows {allowed} connections, and {workers} worker(s) need {needed}; raise max_connections",
        "ko": "데이터베이스가 연결을 {allowed}개만 허용하는데 작업 프로세스 {workers}개에 {needed}개가 필요합니다. "
        "max_connections를 올리세요",
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
