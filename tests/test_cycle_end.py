"""What is known of a cycle."""

from test_progress import END


def test_metrics_are_floats_and_leave_out_what_is_not_known():
    assert END.metrics() == {
        "cycle": 5.0,
        "epoch": 12.5,
        "lr": 0.008,
        "train_loss": 0.18,
        "unseen_score": -0.312,
        "best_unseen_score": -0.309,
        "seconds": 11.0,
    }
    assert all(type(value) is float for value in END.metrics().values())
    bare = END._replace(lr=None, train_loss=None, judged=None, best=None)
    assert [*bare.metrics()] == ["cycle", "epoch", "seconds"]
