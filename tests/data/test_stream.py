from itertools import islice

import numpy as np
import pytest

from chaperonin.data.stream import ENDS, Place, Sequences, Stream
from chaperonin.errors import UsageError
from chaperonin.protein.alphabet import ESM_ALPHABET, STANDARD_RESIDUES


def random_sequences(count: int = 40, longest: int = 60, seed: int = 0) -> Sequences:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, longest, count)
    return Sequences.gather("".join(generator.choice(list(STANDARD_RESIDUES), length)) for length in lengths)


def as_lists(batches: list[list[np.ndarray]]) -> list[list[list[int]]]:
    return [[crop.tolist() for crop in batch] for batch in batches]


def test_sequences_come_back_as_they_were():
    texts = ["MKTAYIAK", "", "ACDX", "W"]
    sequences = Sequences.gather(texts)
    assert len(sequences) == 4
    assert ["".join(ESM_ALPHABET.tokens[number] for number in sequences[n]) for n in range(4)] == texts
    chosen = sequences.choose(np.array([3, 0]))
    assert chosen[0].tolist() == sequences[3].tolist()
    assert chosen[1].tolist() == sequences[0].tolist()


def test_stream_from_any_place_gives_the_batches_of_one_that_never_stopped():
    sequences = random_sequences()
    whole = Stream(sequences, seed=3, window=20, batch_tokens=100)
    places, batches = [], []
    for _ in range(60):
        places.append(whole.place)
        batches.append(next(whole))
    assert places[-1].epoch >= 2
    for number in (0, 7, 23, 41, 59):
        resumed = Stream(sequences, seed=3, window=20, batch_tokens=100)
        resumed.place = Place(*places[number])
        rest = list(islice(resumed, len(batches) - number))
        assert as_lists(rest) == as_lists(batches[number:])


def test_every_sequence_is_seen_once_an_epoch():
    sequences = random_sequences(longest=20)
    stream = Stream(sequences, seed=0, window=20, batch_tokens=64)
    seen: list[tuple[int, ...]] = []
    while len(seen) < 2 * len(sequences):
        seen += [tuple(crop.tolist()) for crop in next(stream)]
    everything = sorted(tuple(sequences[number].tolist()) for number in range(len(sequences)))
    # Batches cross from one epoch to the next, so the epochs are told apart by their numbers only.
    counts = {sequence: seen.count(sequence) for sequence in everything}
    assert sum(counts.values()) == len(seen)
    assert all(count >= 2 * everything.count(sequence) for sequence, count in counts.items())


def test_epochs_have_orders_of_their_own():
    stream = Stream(random_sequences(), seed=0, window=20, batch_tokens=100)
    first = stream.order.tolist()
    stream.place = Place(1)
    assert stream.order.tolist() != first
    assert sorted(stream.order.tolist()) == sorted(first)


def test_batches_keep_the_budget_and_lie_longest_first():
    stream = Stream(random_sequences(), seed=1, window=20, batch_tokens=100)
    for batch in islice(stream, 50):
        lengths = [len(crop) for crop in batch]
        assert batch
        assert sum(lengths) + ENDS * len(lengths) <= 100
        assert lengths == sorted(lengths, reverse=True)


def test_crops_are_windows_of_the_sequence_that_seed_and_epoch_decide():
    sequences = Sequences.gather(["".join(np.random.default_rng(0).choice(list(STANDARD_RESIDUES), 500))])
    stream = Stream(sequences, seed=0, window=50, batch_tokens=60)
    whole = bytes(sequences[0])
    crops = [bytes(stream.crop(epoch, 0)) for epoch in range(20)]
    assert all(len(crop) == 50 and crop in whole for crop in crops)
    assert len(set(crops)) > 10
    assert crops == [bytes(stream.crop(epoch, 0)) for epoch in range(20)]


def test_batch_smaller_than_a_window_is_refused():
    with pytest.raises(UsageError, match="does not hold one window"):
        Stream(random_sequences(), seed=0, window=100, batch_tokens=101)


def test_no_sequences_are_refused():
    with pytest.raises(UsageError, match="no sequences"):
        Stream(Sequences.gather([]), seed=0, window=10, batch_tokens=100)
