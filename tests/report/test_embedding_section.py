import numpy as np
import pytest

from chaperonin.report.embedding_section import (
    embedding_section,
    nearest_neighbours,
    principal_components,
    read_sample,
)


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (700, 620)])
def test_principal_components_equal_the_eigenvectors_of_the_covariance(shape):
    generator = np.random.default_rng(0)
    scales = np.concatenate([[9.0, 5.0], np.ones(shape[1] - 2)])
    embeddings = (generator.normal(size=shape) * scales).astype(np.float32) + 3
    coordinates, explained = principal_components(embeddings)
    values, vectors = np.linalg.eigh(np.cov(embeddings.astype(np.float64).T))
    expected = (embeddings - embeddings.mean(axis=0)) @ vectors[:, :-3:-1]
    np.testing.assert_allclose(np.abs(coordinates), np.abs(expected), atol=2e-3)
    np.testing.assert_allclose(explained, values[:-3:-1] / values.sum(), rtol=1e-4)


def test_nearest_neighbour_is_another_protein_with_the_highest_cosine():
    embeddings = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    embeddings[7] = 3 * embeddings[31]
    closest, cosines = nearest_neighbours(embeddings)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected = unit @ unit.T - 9 * np.eye(50)
    np.testing.assert_array_equal(closest, expected.argmax(axis=1))
    np.testing.assert_allclose(cosines, expected.max(axis=1), rtol=1e-5)
    assert (closest[7], closest[31]) == (31, 7) and (closest != np.arange(50)).all()


def test_large_files_are_sampled_evenly_and_the_rows_stay_together(new_job):
    job = new_job("embed")
    rows = 12_345
    values = np.arange(rows, dtype=np.float32)[:, None] * [1, -1]
    job.embeddings([f"p{n}" for n in range(rows)], values, range(rows))
    sample = read_sample(job.path / "embeddings.parquet")
    assert len(sample.names) == 5_000 and sample.rows_in_file == rows
    assert sample.names == [f"p{n}" for n in sample.lengths]
    np.testing.assert_array_equal(sample.embeddings[:, 1], -sample.lengths)
    assert set(np.diff(sample.lengths)) == {2, 3}


def test_rows_that_are_not_finite_are_left_out(new_job):
    job = new_job("embed")
    job.embeddings(["a", "b", "c"], np.array([[1, 2], [np.nan, 1], [3, np.inf]]), [1, 2, 3])
    assert read_sample(job.path / "embeddings.parquet").names == ["a"]


@pytest.mark.parametrize(("proteins", "kinds"), [(1, ["paragraph"]), (2, ["paragraph", "table"])])
def test_few_proteins_are_not_projected(new_job, proteins, kinds):
    job = new_job("embed")
    job.embeddings(["a", "b"][:proteins], np.eye(2)[:proteins], [5, 6][:proteins])
    assert [part.kind for part in embedding_section(job.path).parts] == kinds


def test_equal_embeddings_are_not_projected(new_job):
    job = new_job("embed")
    job.embeddings(list("abcd"), np.full((4, 3), 0.1), [5, 5, 5, 5])
    assert embedding_section(job.path).parts[0].text.startswith("All embeddings are equal")
