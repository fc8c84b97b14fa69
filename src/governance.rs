//! The policy folder, by which people govern: read, checked and hashed as a whole, and replaced as a whole. What is in
//! force is what was checked, whatever happens to the files afterwards; a folder with a fault takes nobody's place.

mod bundle;
mod folder;
mod matrix;
mod network;
mod people;
mod record;
mod vendors;

pub use bundle::{Bundle, Decided};
pub use folder::{Folder, SHIPPED, write_companion, write_missing};
pub use matrix::matrix;
pub use people::{Ineffective, Notice, People};
pub use policy::{Circumstances, Decision, Fault, Relation, Why};
pub use vendors::{Egress, NoEgress, Vendors, companion_record};

use arc_swap::ArcSwap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that is wrong with the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, fault) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n  ")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Faults(vec![fault])
    }
}

/// What is in force, and where its next version is read from.
pub struct Governance {
    folder: PathBuf,
    running: ArcSwap<Bundle>,
    /// What was wrong with the folder when it was last read again.
    refused: ArcSwap<Vec<Fault>>,
}

impl Governance {
    /// Reads and checks the folder.
    ///
    /// # Errors
    /// [`Faults`], each with file, line and remedy.
    pub fn read(folder: &Path) -> Result<Governance, Faults> {
        Ok(Governance::of(folder, Bundle::of(&Folder::read(folder)?)?))
    }

    fn of(folder: &Path, bundle: Bundle) -> Governance {
        Governance {
            folder: folder.to_owned(),
            running: ArcSwap::from_pointee(bundle),
            refused: ArcSwap::default(),
        }
    }

    /// What is in force. One request is judged by one bundle, from its beginning to its end.
    pub fn now(&self) -> Arc<Bundle> {
        self.running.load_full()
    }

    /// What was wrong when the folder was last read again; empty when that went well.
    pub fn refused(&self) -> Arc<Vec<Fault>> {
        self.refused.load_full()
    }

    /// Reads the folder again and checks it. What comes back is not in force yet: it is once it was recorded and given
    /// to [`Governance::enforce`].
    ///
    /// # Errors
    /// [`Faults`]; what was in force stays.
    pub fn reread(&self) -> Result<Arc<Bundle>, Faults> {
        let read = Folder::read(&self.folder).and_then(|folder| self.follows(&folder));
        self.refused.store(Arc::new(read.as_ref().err().map(|faults| faults.0.clone()).unwrap_or_default()));
        read
    }

    fn follows(&self, folder: &Folder) -> Result<Arc<Bundle>, Faults> {
        let bundle = Bundle::of(folder)?;
        let changed = self.now().fixed_files_that_differ(&bundle);
        let faults = changed.into_iter().map(|file| {
            let remedy = "put it back, or restart the gateway: pangate serve reads it once";
            Fault::new(file, "it changed, and a running gateway does not read it again", remedy)
        });
        let faults: Vec<Fault> = faults.collect();
        if faults.is_empty() { Ok(Arc::new(bundle)) } else { Err(Faults(faults)) }
    }

    /// Puts a bundle in force, for every request that begins from now on.
    pub fn enforce(&self, bundle: Arc<Bundle>) {
        self.running.store(bundle);
    }
}

#[cfg(test)]
mod tests;
