"""Which repositories are behind: decided by keys in the tables, never by timestamps or runs."""

from codesearch_assets import chunks, embeddings, repo_snapshots
from codesearch_assets.centrality import centrality_is_whole
from codesearch_assets.embeddings import summary_source
from codesearch_assets.summary_list import needs_summaries
from codesearch_resources.embedders.base import Embedder
from codesearch_resources.results import Results, Slice
from codesearch_resources.settings import RepositorySettings
from codesearch_resources.store import Store, of_repo
from codesearch_resources.summarizers import extractive
from codesearch_resources.summarizers.order import Summarizer
from codesearch_resources.text import key


def needs_refresh(store: Store, entry: RepositorySettings, head: str, embedder: Embedder) -> bool:
    """Whether an asset of `refresh` last completed for another commit or other settings, or rows
    that it wrote are gone."""
    row = store.repository_row(entry.name)
    snapshot = repo_snapshots.fingerprint(entry)
    cut = chunks.fingerprint(snapshot)
    wanted = {
        "repo_snapshots_fingerprint": snapshot,
        "chunks_fingerprint": cut,
        "code_embeddings_fingerprint": embeddings.fingerprint(cut, embedder),
        **{f"{asset}_commit": head for asset in ("repo_snapshots", "chunks", "code_embeddings")},
    }
    moved = any(row.get(name) != value for name, value in wanted.items())
    return moved or not _counts_agree(store, entry.name)


def needs_vectors(store: Store, repo: str, embedder: Embedder) -> bool:
    """Whether chunks that are stored lack code vectors of this embedder: that is made up without
    the repository itself, so that one that cannot be reached does not hold up a new set."""
    row = store.repository_row(repo)
    if row.get("chunks_commit") is None:
        return False
    present = embeddings.fingerprint(row["chunks_fingerprint"], embedder)
    if row.get("code_embeddings_fingerprint") != present:
        return True
    if row.get("code_embeddings_commit") != row["chunks_commit"]:
        return True  # as many may be there, of other chunks
    return store.count("chunks", of_repo(repo)) != store.count(store.code_vectors, of_repo(repo))


def _counts_agree(store: Store, repo: str) -> bool:
    """Whether as many rows are there as each table says of the next: a table that was deleted, or
    lost rows, is filled again by a plain run."""
    cut = store.read("files", ["chunks"], of_repo(repo))["chunks"].to_pylist()
    indexed = store.count("repo_snapshots", f"{of_repo(repo)} AND skip_reason = ''")
    chunk_rows, vectors = (store.count(t, of_repo(repo)) for t in ("chunks", store.code_vectors))
    counted = indexed == len(cut) and sum(cut) == chunk_rows == vectors
    return counted and centrality_is_whole(store, repo)


def tables_state(store: Store, results: Results, summarizer: Summarizer) -> str:
    """What the answer of needs_summarise hangs on for all repositories: unchanged, it need not be
    asked again of any."""
    names = ("chunks", "summaries", store.summary_vectors)
    versions = [str(store.ask(name, lambda table: table.version)) for name in names]
    return "-".join(
        [
            *versions,
            results.state(),
            store.summary_vectors,
            summarizer.name,
            extractive.VERSION,
        ]
    )


def summaries_state(
    store: Store, results: Results, repo: str, summarizer: Summarizer, last: Slice | None
) -> str:
    """The same for one repository: its chunks, the rows that are there, and its last slice."""
    row = store.repository_row(repo)
    counts = [
        str(store.count(name, of_repo(repo)))
        for name in ("chunks", "summaries", store.summary_vectors)
    ]
    served = last.served_at.isoformat() if last else ""
    chunked = [str(row.get(name)) for name in ("chunks_commit", "chunks_fingerprint")]
    names = [results.state(), store.summary_vectors, summarizer.name, extractive.VERSION]
    return key([*chunked, *counts, served, *names])


def needs_summarise(
    store: Store, results: Results, repo: str, embedder: Embedder, summarizer: Summarizer
) -> bool:
    """Whether a chunk lacks an accepted summary, or a summary its present vector."""
    if needs_summaries(store, results, repo, summarizer):
        return True
    return store.digests(store.summary_vectors, repo) != summary_source(store, repo).digests
