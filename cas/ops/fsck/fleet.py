"""One check by many machines: the workers of a Dask scheduler check the shards. Only this module knows Dask.

    connect   to the scheduler, which knows its workers
    submit    one task for each shard; a worker that is free takes the next one
    collect   results in the order in which they come; a shard that failed is tried again, elsewhere if possible
    merge     the results, as `cas fsck --merge` does

The scheduler gives the shards of a lost worker to others, so a lost worker costs the work on its shard. A worker reads
the store with its own settings and its own key: the store's URL travels, secrets do not. Results are small: they name
damaged objects, and have no bytes of chunks. (docs/decisions/0025-fleet.md: why Dask.)
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cas import events
from cas.bucket import urls
from cas.errors import CasError, InputError, StoreError
from cas.ops.fsck import checker
from cas.ops.fsck.fleet_result import Failure, FleetChecked, described, error_of
from cas.ops.fsck.fleet_state import FleetState, load_state, remove_state
from cas.ops.fsck.merge import merge
from cas.ops.fsck.report import Checked
from cas.ops.fsck.shard import Shard, limits_for, parse_shard
from cas.store.choice import store_url
from cas.store.layout import CHUNK_FOLDERS
from cas.version import __version__

if TYPE_CHECKING:
    from distributed import Client, Future

MOST_SHARDS = len(CHUNK_FOLDERS)
"""As many shards as the store has folders of chunks."""

_TRIES = 3  # of a shard that fails, not counting workers that are lost
_HOPELESS = 3  # shards that failed for good before any ended: then the others are not waited for
_CONNECT = 10.0  # seconds
_ADDRESS = re.compile(r"(?:(?:tcp|tls|ws|wss)://)?(?:\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]]+):([0-9]{1,5})/?")


def fsck_by_fleet(
    scheduler: str,
    scope: str | None = None,
    store: str | None = None,
    *,
    sample: float = 1.0,
    shards: int = MOST_SHARDS,
    state: str | Path | None = None,
    on_event: events.Listener = events.log,
) -> FleetChecked:
    """Check a store as `fsck` does, each shard of it on a worker of a Dask scheduler.

    Args:
        scheduler: address of the scheduler, such as `tcp://10.0.0.1:8786`.
        scope: as for `fsck`.
        store: URL of the store, as the workers are to open it; None for the default on this machine.
        sample: as for `fsck`; each shard chooses its own chunks.
        shards: how many there are, 256 at most. Each reads all manifests in the scope.
        state: a file with the results so far: the check goes on from it, and removes it when all shards are checked.
        on_event: is told of each shard that ends.

    Raises:
        InputError: Dask is not installed, an argument makes no sense, or workers are of another version.
        StoreError: the scheduler does not answer, or no shard could be checked for such a reason.
        CasError: no shard could be checked; it is the error of the first one.
    """
    if not 1 <= shards <= MOST_SHARDS:
        raise InputError(f"{shards} shards cannot be: give 1 to {MOST_SHARDS}")
    path = None if state is None else Path(state)
    begun = FleetState(store=urls.parse(store_url(store)).url, scope=scope, sample=sample, shards=shards)
    begun = load_state(path, begun)
    with _connected(scheduler) as client:
        if not client.nthreads():
            on_event(events.Warned(f"{scheduler} has no workers yet: waiting for them (dask worker {scheduler})"))
        _refuse_other_versions(client)
        on_event(events.Phase("fsck"))
        return _Fleet(client, scheduler, begun, path, on_event).run()


class _Fleet:
    """One check: its shards under way, their results and their failures."""

    def __init__(
        self, client: Client, scheduler: str, state: FleetState, path: Path | None, listen: events.Listener
    ) -> None:
        self._client, self._scheduler, self._state, self._path, self._listen = client, scheduler, state, path, listen
        self._shards = [str(Shard(number, state.shards)) for number in range(1, state.shards + 1)]
        self._check = secrets.token_hex(4)  # makes the keys of tasks unique: the scheduler keeps results by key
        self._tries = dict.fromkeys(self._shards, 0)
        self._failing: set[str] = set()  # workers whose last shard failed
        self._told: set[str] = set()  # causes of failures: one worker may fail at many shards
        self._results = state.results
        self._failures: dict[str, Failure] = {}

    def run(self) -> FleetChecked:
        """Check all shards; raise the first failure if none could be checked."""
        from distributed import as_completed

        wanted = [shard for shard in self._shards if shard not in self._results]
        pending = dict(zip(self._submit_all(wanted), wanted, strict=True))
        completed = as_completed(list(pending))
        for future in completed:
            shard = pending.pop(future)
            found = self._outcome(future)
            if found is None:
                lost = Failure(f"the scheduler at {self._scheduler} went away: start it and the command again", 6)
                self._failures.update(dict.fromkeys((shard, *pending.values()), lost))
                break
            if isinstance(found, Checked):
                self._results[shard] = found
                self._state.save(self._path)
                self._listen(events.Ended(f"{described(found)} ({len(self._results)} of {len(self._shards)} shards)"))
            elif found.final or self._tries[shard] == _TRIES:
                self._failures[shard] = found
                self._listen(events.Warned(f"shard {shard} was not checked: {found.text}"))
                if len(self._failures) == _HOPELESS and not self._results:
                    break
            else:
                if found.text not in self._told:
                    self._listen(events.Warned(f"shard {shard} failed, and is tried again: {found.text}"))
                self._told.add(found.text)
                again = self._submit_again(shard)
                pending[again] = shard
                completed.add(again)
        return self._sum()

    def _submit_all(self, shards: list[str]) -> list[Future]:
        """Submit shards as one group of tasks: so the scheduler queues them, and late workers take part."""
        orders, keys = map(self._order_of, shards), map(self._key, shards)
        versions = [__version__] * len(shards)
        return list(self._client.map(check_shard, versions, list(orders), key=list(keys), pure=False))

    def _submit_again(self, shard: str) -> Future:
        """Submit a shard that failed, to workers whose last shard did not fail if there are any."""
        others = sorted(self._client.nthreads().keys() - self._failing)
        return self._client.submit(
            check_shard,
            __version__,
            self._order_of(shard),
            key=self._key(shard),
            workers=others or None,
            allow_other_workers=bool(others),  # if all of them are lost meanwhile
            pure=False,
        )

    def _order_of(self, shard: str) -> dict[str, object]:
        state = self._state
        return {"store": state.store, "scope": state.scope, "sample": state.sample, "shard": shard}

    def _key(self, shard: str) -> tuple[str, str, int]:
        """The name of the next task for a shard; the scheduler takes tasks of one first element for a group."""
        self._tries[shard] += 1
        return f"cas-fsck-{self._check}", shard, self._tries[shard]

    def _outcome(self, future: Future) -> Checked | Failure | None:
        """Return the result of a shard or its failure; None when the scheduler is lost."""
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        try:
            result, code, text, worker = future.result()
        except CancelledError:
            return None
        except KilledWorker as error:
            return Failure(f"{error.allowed_failures + 1} workers were lost while they checked it", 6, final=True)
        except Exception as error:
            # The task could not be read there: without this module, or with another Dask or Python.
            cause = error.__cause__ or error
            return Failure(
                f"the fleet cannot run it ({type(cause).__name__}: {cause}): install model-cas[fleet] {__version__} "
                "for its scheduler and for each of its workers",
                InputError.exit_code,
            )
        if isinstance(result, Checked):
            self._failing.discard(worker)
            return result
        self._failing.add(worker)
        return Failure(f"worker {worker}: {text}", code)

    def _sum(self) -> FleetChecked:
        failed = [shard for shard in self._shards if shard in self._failures]
        first = self._failures[failed[0]] if failed else None
        if first and not self._results:
            raise error_of(first.code, f"no shard could be checked: {first.text}")
        if not failed:
            remove_state(self._path)
        done = [shard for shard in self._shards if shard in self._results]
        checked = merge([self._results[shard] for shard in done], done, complete=not failed)
        return FleetChecked(
            checked, {shard: self._failures[shard].text for shard in failed}, first.code if first else 0
        )


def check_shard(version: str, order: Mapping[str, object]) -> tuple[Checked | None, int, str, str]:
    """Check a shard. This runs on a worker, which reads the store with the settings of its own environment.

    It raises nothing: an error of ours need not survive its way through pickle.

    Args:
        version: of model-cas on the machine that asks.
        order: `scope`, `store`, `sample` and `shard`.

    Returns:
        The result, or None; the exit code and the text of the error; the worker's address.
    """
    worker, threads = _this_worker()
    try:
        if version != __version__:
            raise InputError(f"it has model-cas {__version__}, this command is {version}: install one version on all")
        checked = checker.fsck(
            order["scope"],  # type: ignore[arg-type]  # the same version has put it there
            order["store"],  # type: ignore[arg-type]
            sample=order["sample"],  # type: ignore[arg-type]
            shard=parse_shard(str(order["shard"])),
            limits=limits_for(threads),
        )
    except CasError as error:
        return None, error.exit_code, str(error), worker
    except Exception as error:
        return None, CasError.exit_code, f"{type(error).__name__}: {error}", worker
    return checked, 0, "", worker


def version_here() -> str:
    """The version of model-cas. This runs on workers."""
    return __version__


def _refuse_other_versions(client: Client) -> None:
    """Raise InputError if a worker has no model-cas, or another version. Workers that come later refuse shards."""
    for worker, found in client.run(version_here, on_error="return").items():
        if isinstance(found, OSError) or found == __version__:  # OSError: the worker was lost meanwhile
            continue
        what = (
            f"has model-cas {found}" if isinstance(found, str) else f"cannot run it ({type(found).__name__}: {found})"
        )
        raise InputError(f"worker {worker} {what}: install model-cas[fleet] {__version__} there, and start it again")


def _this_worker() -> tuple[str, int]:
    """The address of the worker that this thread belongs to, and how many shards it checks at once."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:
        return "none", 1
    return worker.address, max(1, worker.state.nthreads)


@contextmanager
def _connected(scheduler: str) -> Iterator[Client]:
    """Yield a client of a scheduler; raise InputError without Dask or an address, StoreError if none answers."""
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            f"--fleet takes Dask, which cannot be imported ({error}): pip install 'model-cas[fleet]'"
        ) from None
    match = _ADDRESS.fullmatch(scheduler)
    if match is None or not 0 < int(match[1]) < 1 << 16:
        raise InputError(f"{scheduler!a} is no address of a Dask scheduler: write one such as tcp://10.0.0.1:8786")
    for name in ("distributed", "distributed.client", "distributed.core", "distributed.comm"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # tracebacks of what our errors say in a line
    try:
        client = Client(scheduler, timeout=_CONNECT, set_as_default=False, name="cas-fsck")
    except TypeError as error:  # from a missing certificate
        raise InputError(
            f"{scheduler} cannot be used ({error}): set Dask's certificates, DASK_DISTRIBUTED__COMM__TLS__…"
        ) from None
    except (OSError, ValueError) as error:
        raise StoreError(
            f"no Dask scheduler answers at {scheduler} ({_cause(error)}): start it with `dask scheduler`, or check "
            "the address"
        ) from None
    with client, client.as_current():
        yield client


def _cause(error: BaseException) -> str:
    """What the operating system says at the bottom of an error of a connection, or else the error itself."""
    found, inner = str(error), error.__cause__ or error.__context__
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            found = inner.strerror
        inner = inner.__cause__ or inner.__context__
    return found
