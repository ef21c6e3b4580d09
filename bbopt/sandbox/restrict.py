"""Gives up this process's rights, then runs a script: the inside of the level ``landlock``.

Run as a script, by its path: nothing of bbopt is to be imported here.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import json
import os
import runpy
import sys
from contextlib import suppress
from importlib import import_module

CLONE_THREAD = 0x00010000

# What Landlock does not govern: who is reached from here, and the files' rights and owners.
NETWORK = "socket socketpair connect bind listen accept accept4 sendto sendmsg sendmmsg"
PROCESSES = (
    "fork vfork execve execveat ptrace process_vm_readv process_vm_writev process_madvise kcmp "
    "pidfd_open pidfd_getfd pidfd_send_signal setpgid setsid setpriority sched_setaffinity "
    "sched_setscheduler sched_setparam sched_setattr ioprio_set migrate_pages move_pages"
)
FILES = (
    "truncate chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat "
    "utimensat setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr fallocate "
    "name_to_handle_at open_by_handle_at inotify_init inotify_init1 fanotify_init flock"
)
SYSTEM = (
    "mount umount umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount fspick "
    "mount_setattr unshare setns swapon swapoff reboot kexec_load kexec_file_load init_module "
    "finit_module delete_module bpf perf_event_open userfaultfd io_uring_setup io_uring_enter "
    "io_uring_register add_key request_key keyctl syslog acct quotactl quotactl_fd sethostname "
    "setdomainname settimeofday adjtimex clock_settime clock_adjtime iopl ioperm modify_ldt "
    "vhangup shmget shmat shmctl semget semctl semop semtimedop msgget msgsnd msgrcv msgctl "
    "mq_open mq_unlink memfd_secret lookup_dcookie nfsservctl personality"
)


def drop_capabilities() -> None:
    """Leave root without the rights of root (but for the files that root owns)."""
    version_and_pid = (ctypes.c_uint32 * 2)(0x20080522, 0)
    ctypes.CDLL(None).capset(version_and_pid, (ctypes.c_uint32 * 6)())


def restrict_files(readable: list[str], scratch: str) -> None:
    """Leave the reading of some paths and the writing of files in one folder."""
    landlock = import_module("landlock")
    access = landlock.FSAccess
    ruleset = landlock.Ruleset()
    read = access.READ_FILE | access.READ_DIR
    for path in [*readable, "/proc/self"]:
        ruleset.allow(path, rules=read if os.path.isdir(path) else access.READ_FILE)
    ruleset.allow(os.devnull, rules=access.READ_FILE | access.WRITE_FILE)
    ruleset.allow("/dev/urandom", rules=access.READ_FILE)
    # no folders or links: what is left behind is removed by a plain loop
    write = read | access.WRITE_FILE | access.MAKE_REG | access.REMOVE_FILE
    ruleset.allow(scratch, rules=write)
    ruleset.apply()


def restrict_calls() -> None:
    """Refuse the system calls that are named above, and signals to others."""
    # pyseccomp would start ldconfig, or a compiler, to look for its library
    ctypes.util.find_library = lambda name: f"lib{name}.so.2" if name == "seccomp" else None
    seccomp = import_module("pyseccomp")
    calls = seccomp.SyscallFilter(seccomp.ALLOW)
    refused = seccomp.ERRNO(errno.EPERM)
    not_own = seccomp.Arg(0, seccomp.NE, os.getpid())
    for name in f"{NETWORK} {PROCESSES} {FILES} {SYSTEM}".split():
        with suppress(OSError):  # not a call of this architecture
            calls.add_rule(refused, name)
    calls.add_rule(refused, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, 0))
    # the flags of clone3 are out of sight; libc falls back to clone
    calls.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    for name in ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"):
        calls.add_rule(refused, name, not_own)
    calls.add_rule(refused, "prlimit64", seccomp.Arg(0, seccomp.NE, 0))
    calls.load()


if __name__ == "__main__":
    readable, scratch, script, *arguments = sys.argv[1:]
    drop_capabilities()
    restrict_files(json.loads(readable), scratch)
    restrict_calls()
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
