//! Named steps, run in order until one fails.

use std::time::Instant;

/// One step. What it returns is a note for the line that says it passed.
pub(crate) struct Step {
    /// As it is printed, and as a person names it to run it alone.
    pub(crate) name: &'static str,
    /// Runs in `cargo xtask test --quick` too.
    pub(crate) quick: bool,
    pub(crate) run: fn() -> Result<String, String>,
}

/// Runs the steps. The last line printed is `N passed, N failed`, where N counts steps.
///
/// # Errors
/// Names the step that failed; the ones after it were not run.
pub(crate) fn run(steps: &[&Step]) -> Result<(), String> {
    let begin = Instant::now();
    for (done, step) in steps.iter().enumerate() {
        println!("==> {}", step.name);
        let began = Instant::now();
        let outcome = (step.run)();
        let seconds = began.elapsed().as_secs_f64();
        match outcome {
            Ok(note) if note.is_empty() => println!("ok  {} ({seconds:.1} s)\n", step.name),
            Ok(note) => println!("ok  {} ({seconds:.1} s): {note}\n", step.name),
            Err(error) => {
                println!("FAILED  {} ({seconds:.1} s): {error}", step.name);
                let left: Vec<&str> = steps[done + 1..].iter().map(|step| step.name).collect();
                if !left.is_empty() {
                    println!("not run: {}", left.join(", "));
                }
                println!("\n{done} passed, 1 failed");
                return Err(format!("{} failed", step.name));
            }
        }
    }
    println!("{:.1} s in all\n{} passed, 0 failed", begin.elapsed().as_secs_f64(), steps.len());
    Ok(())
}
