"""Task classes as label values: bounded, however many classes somebody submits."""

TASK_CLASSES_MAX = 100
OTHER = "other"


class ClassLabels:
    """The first so many classes keep their name, all later ones share one."""

    def __init__(self, classes_max: int = TASK_CLASSES_MAX) -> None:
        self._classes_max = classes_max
        self._known: set[str] = set()

    def of(self, task_class: str) -> str:
        """The label of a class."""
        if task_class in self._known:
            return task_class
        if len(self._known) >= self._classes_max:
            return OTHER
        self._known.add(task_class)
        return task_class
