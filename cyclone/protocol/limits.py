"""Every limit of the protocol, in one place. Both sides enforce them; docs/protocol.md lists them."""

PROTOCOL_VERSION = 2

# A frame above this is cut off by ZeroMQ together with its connection, so a sender must stay below by itself.
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
# One task's arguments or one result's value; four of them, or one and its columns, always fit a message.
VALUE_BYTES_MAX = 4 * 1024 * 1024
# The columns of one result batch: with the arguments of its tasks they still fit a frame to the generator.
BODY_BYTES_MAX = 8 * 1024 * 1024
# All records of one task: with its value, and what else is in its batch, they still fit those columns.
RECORDS_BYTES_MAX = 2 * 1024 * 1024
# Where a sender starts another message: large enough to amortise the frame, small enough not to delay others.
BATCH_BYTES_TARGET = 1024 * 1024
TASKS_PER_BATCH_MAX = 4096
BATCHES_PER_MESSAGE_MAX = 4096
RANGES_PER_MESSAGE_MAX = 65536
JOBS_PER_MESSAGE_MAX = 4096
NAME_CHARS_MAX = 255
TEXT_CHARS_MAX = 4096
SLOTS_MAX = 4096
# Controllers of one master at the same time; another one is told to come back later.
SESSIONS_MAX = 16384
# What a controller may be granted beyond what it has finished.
CREDIT_MAX = 1 << 20
ID_MAX = (1 << 63) - 1
# A traceback is cut in the middle beyond this: its head names the entry, its tail the cause.
TRACEBACK_CHARS_MAX = 32768
# So many wrong messages of a peer within the period, and for another period it is not listened to at all.
STRIKES_MAX = 5
STRIKE_PERIOD_S = 60
# A log line is cut in the middle beyond this; what a task prints without an end of line is broken into such lines.
LOG_LINE_CHARS_MAX = 8192
# Lists and dicts in each other, in a task's arguments or its value.
NESTING_MAX = 64
# A job as controllers are told of it: with a batch of tasks beside it, it always fits a message.
JOB_BYTES_MAX = 6 * 1024 * 1024
# All options of a job: with its first tasks, or with all that is told of it, they always fit a message.
SPEC_BYTES_MAX = 8 * 1024 * 1024
# Names of nodes, and labels, resources, limits or tags, of one job; and variables of its environment.
NODES_PER_JOB_MAX = 16384
LABELS_MAX = 64
VARIABLES_MAX = 1024
# Rows of a list in one answer; it ends earlier where it gets large.
PAGE_ROWS_MAX = 4096
# What tasks have printed, in one answer; and in how many pieces.
OUTPUT_BYTES_MAX = 256 * 1024
OUTPUT_PIECES_MAX = 4096
# How long a question for what a task prints may wait until it prints something.
OUTPUT_WAIT_MAX_S = 10
# How long the controller that is asked then has besides, before the master answers that it does not.
OUTPUT_ANSWER_MAX_S = 3
# Results under way to one client.
FOLLOW_WINDOW_BYTES_MAX = 64 * 1024 * 1024
