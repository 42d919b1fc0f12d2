"""Released revisions are never edited: a change is a new file whose down_revision is the last one."""
