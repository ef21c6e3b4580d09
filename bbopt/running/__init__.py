"""Everything between ask and tell: the loop, executors, storage, replay, reports of progress."""
