"""How the child locks itself down, before it opens what a stranger sent: Landlock, seccomp, resource limits.

Landlock decides which files can be opened, seccomp which system calls exist at all; both bind root as well, and
neither can be taken off again. What was locked is then tried: a level counts only if the attempts fail.
"""

import ctypes
import errno
import os
import resource
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

ALLOWED_CALLS = """
    access arch_prctl brk clock_getres clock_gettime clock_nanosleep close dup dup2 dup3 epoll_create1 epoll_ctl
    epoll_pwait epoll_wait exit exit_group faccessat faccessat2 fadvise64 fcntl fstat fstatfs futex futex_waitv
    get_mempolicy get_robust_list getcwd getdents64 getegid geteuid getgid getpid getppid getrandom getresgid
    getresuid getrlimit getrusage gettid gettimeofday getuid lseek lstat madvise membarrier mincore mmap
    mprotect mremap munmap nanosleep newfstatat pipe2 poll ppoll pread64 pselect6 read readlink readlinkat readv
    restart_syscall rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getparam sched_getscheduler sched_yield select set_robust_list set_tid_address
    sigaltstack stat statfs statx sysinfo time times uname write writev
""".split()  # noqa: SIM905
"""All that Python and its number crunchers need to read files, compute, and answer through a pipe.

Not among them: sockets, signals to others, new processes, renaming, removing, changing owners or limits, mounting,
tracing, loading kernel modules, io_uring. What is not here fails with "Operation not permitted".
"""

WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CLONE_THREAD = 0x00010000
TCGETS = 0x5401
PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_VMA = 1, 15, 0x53564D41
OPEN_FILES = 256


class NotEnforcedError(Exception):
    """A mechanism is missing or does not hold; the text is the reason."""


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when its parent ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent not in (os.getppid(), 0):
        raise NotEnforcedError("the parent is gone")


def restrict_files(folders: Sequence[str], files: Sequence[str]) -> None:
    """Landlock: from now on nothing but these can be read, nothing written, no TCP connection opened.

    Raises
    ------
    NotEnforcedError
        If the kernel has no Landlock, or the library is missing.
    """
    try:
        from landlockpy import AccessFS, LandlockError, Ruleset, Scope
    except ImportError as error:
        raise NotEnforcedError('landlockpy is not installed (pip install "onepixel[sandbox]")') from error
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise NotEnforcedError("Landlock binds one thread, and there are several")
    try:
        with Ruleset(scoped=Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL) as ruleset:
            for folder in folders:
                ruleset.allow_path(folder, AccessFS.READ_FILE | AccessFS.READ_DIR)
            for file in files:
                ruleset.allow_path(file, AccessFS.READ_FILE)
            ruleset.restrict()
    except (LandlockError, OSError) as error:
        raise NotEnforcedError(f"Landlock: {error}") from error


def prepare_calls() -> Callable[[], None]:
    """Build the seccomp filter, and return the function that puts it in force for every thread.

    Raises
    ------
    NotEnforcedError
        If libseccomp or its bindings are missing.
    """
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise NotEnforcedError('pyseccomp or libseccomp is missing (pip install "onepixel[sandbox]")') from error
    Arg, equal, masked = pyseccomp.Arg, pyseccomp.EQ, pyseccomp.MASKED_EQ  # noqa: N806
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    rules.set_attr(pyseccomp.Attr.CTL_TSYNC, 1)
    for call in ALLOWED_CALLS:
        try:
            rules.add_rule(pyseccomp.ALLOW, call)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EDOM, errno.EFAULT):
                raise NotEnforcedError(f"seccomp: {error}") from error
    rules.add_rule(pyseccomp.ALLOW, "open", Arg(1, masked, WRITING_FLAGS, 0))
    rules.add_rule(pyseccomp.ALLOW, "openat", Arg(2, masked, WRITING_FLAGS, 0))
    rules.add_rule(pyseccomp.ALLOW, "clone", Arg(0, masked, CLONE_THREAD, CLONE_THREAD))
    # Its flags lie in memory where a filter cannot look; the C library then falls back to clone.
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    rules.add_rule(pyseccomp.ALLOW, "ioctl", Arg(1, equal, TCGETS))
    rules.add_rule(pyseccomp.ALLOW, "prlimit64", Arg(2, equal, 0))
    rules.add_rule(pyseccomp.ALLOW, "tgkill", Arg(0, equal, os.getpid()))
    for option in (PR_SET_NAME, PR_SET_VMA):
        rules.add_rule(pyseccomp.ALLOW, "prctl", Arg(0, equal, option))

    def restrict_calls() -> None:
        try:
            rules.load()
        except OSError as error:
            raise NotEnforcedError(f"seccomp: {error}") from error

    return restrict_calls


def limit_resources(memory_bytes: int, processor_seconds: int) -> None:
    """Limit address space (on top of what there is now), processor time, files and core dumps."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    address_space = pages * resource.getpagesize() + memory_bytes
    for what, most in (
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_CPU, processor_seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def try_to_escape(canary: str, *, calls_restricted: bool) -> None:
    """Try what must fail by now: to use a file that was not granted, to open a connection, to start a process.

    Parameters
    ----------
    canary : str
        A file of the same user, which is not granted.
    calls_restricted : bool
        Whether seccomp is in force. Without it processes and sockets can be made, inside namespaces of their own.

    Raises
    ------
    NotEnforcedError
        If one of them works.
    """
    attempts: dict[str, Callable[[], object]] = {
        "reading a file that was not granted": lambda: Path(canary).read_bytes(),
        "writing a file": lambda: Path(canary).with_name("written").write_bytes(b"x"),
        "removing a file": lambda: Path(canary).unlink(),
    }
    if calls_restricted:
        attempts["opening a socket"] = socket.socketpair
        attempts["starting a process"] = start_process
    for what, attempt in attempts.items():
        try:
            attempt()
        except OSError:
            continue
        raise NotEnforcedError(f"{what} is still possible")
    if not calls_restricted and [name for _, name in socket.if_nameindex()] not in ([], ["lo"]):
        raise NotEnforcedError("the network is still there")


def start_process() -> None:
    """Fork a child that ends at once."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
