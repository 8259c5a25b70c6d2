//! What is done when the process exits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use super::hooks;
use crate::caught::PanicGuard;

/// Something to do at exit, on the exiting thread, whose thread-local values are gone.
pub(crate) trait ExitJob: Send + Sync {
    fn run(&self);

    /// Whether it will never have anything to do again.
    fn is_over(&self) -> bool;

    /// The address of what it is for: a later job for the same replaces it.
    fn is_for(&self) -> *const ();
}

/// Not behind a lock, which a fork could leave held in the child.
static JOBS: ArcSwapOption<Vec<Arc<dyn ExitJob>>> = ArcSwapOption::const_empty();

/// Has the job run when this process exits, and when a child forked from now on does; false if this is not
/// supported on this platform.
pub(crate) fn at_exit(job: Arc<dyn ExitJob>) -> bool {
    at_exit_by(job, || hooks::watch_exit(run_jobs))
}

fn at_exit_by(job: Arc<dyn ExitJob>, register: impl FnOnce() -> bool) -> bool {
    // As with forks: registered before the flag is set, and better twice than never.
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if !WATCHED.load(Ordering::Acquire) {
        if !register() {
            return false;
        }
        WATCHED.store(true, Ordering::Release);
    }
    JOBS.rcu(|jobs| {
        let jobs = jobs.iter().flat_map(|jobs| jobs.iter());
        let live = jobs.filter(|it| !it.is_over() && it.is_for() != job.is_for()).cloned();
        Some(Arc::new(live.chain([Arc::clone(&job)]).collect::<Vec<_>>()))
    });
    true
}

extern "C" fn run_jobs() {
    // Taken, so that each job runs once however many times this is registered.
    for job in JOBS.swap(None).iter().flat_map(|jobs| jobs.iter()) {
        PanicGuard::default().caught("an exit flush", || job.run());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Job(AtomicBool);

    impl ExitJob for Job {
        fn run(&self) {
            self.0.store(true, Ordering::Relaxed);
        }

        fn is_over(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }

        fn is_for(&self) -> *const () {
            std::ptr::from_ref(self).cast()
        }
    }

    #[test]
    #[cfg_attr(not(unix), ignore = "no exit hook on this platform")]
    fn finished_jobs_leave_the_list_and_the_rest_run() {
        let jobs: Vec<_> = (0..3).map(|_| Arc::new(Job(AtomicBool::new(false)))).collect();
        for job in &jobs {
            assert!(at_exit(Arc::clone(job) as Arc<dyn ExitJob>));
            job.run();
        }
        assert_eq!(JOBS.load().as_ref().map_or(0, |jobs| jobs.len()), 1);
        jobs[2].0.store(false, Ordering::Relaxed);
        assert!(at_exit(Arc::clone(&jobs[2]) as Arc<dyn ExitJob>));
        assert_eq!(JOBS.load().as_ref().map_or(0, |jobs| jobs.len()), 1, "it replaces itself");
        run_jobs();
        assert!(jobs[2].is_over());
    }

    const GAP: &str = "CONVERT_TEST_GAP";

    /// Ends the process in a way nothing else does.
    struct Abort;

    impl ExitJob for Abort {
        fn run(&self) {
            std::process::abort();
        }

        fn is_over(&self) -> bool {
            false
        }

        fn is_for(&self) -> *const () {
            std::ptr::null()
        }
    }

    /// In a process of its own, because the exit hook is registered once per process and never removed.
    #[test]
    #[cfg_attr(not(unix), ignore = "no exit hook on this platform")]
    fn an_exit_while_another_thread_registers_runs_the_jobs() {
        let mut case = std::process::Command::new(std::env::current_exe().unwrap());
        case.args(["--exact", "threads::process::exit::tests::in_the_gap", "--ignored"]).env(GAP, "");
        let ended = case.output().unwrap().status;
        assert_eq!(ended.code(), None, "the job did not run");
    }

    #[test]
    #[ignore = "run by the test above, in a process of its own"]
    fn in_the_gap() {
        if std::env::var_os(GAP).is_some() {
            at_exit_by(Arc::new(Abort), || {
                assert!(at_exit(Arc::new(Abort)));
                std::process::exit(0)
            });
        }
    }
}
