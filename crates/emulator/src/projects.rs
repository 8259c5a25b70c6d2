//! The served projects: lookup by SDK key, reload of changed files, and live replacement.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, KnownIds};
use crate::project::{ConfigSource, Project};
use crate::{ConfigError, StartError};

/// Every served project, in the order given to the builder.
#[derive(Debug)]
pub(crate) struct Projects {
    served: Vec<ServedProject>,
}

/// One project with its current config.
#[derive(Debug)]
pub(crate) struct ServedProject {
    sdk_keys: Vec<String>,
    pub(crate) secret: Option<String>,
    pub(crate) config: Arc<Config>,
    /// The ids of every config served so far.
    pub(crate) known: KnownIds,
    file: Option<WatchedFile>,
}

#[derive(Debug)]
struct WatchedFile {
    path: PathBuf,
    /// What the file said when it could not be served, to warn once for each bad text.
    refused: Option<String>,
}

impl Projects {
    pub(crate) fn load(projects: Vec<Project>) -> Result<Self, StartError> {
        let mut served = Vec::new();
        let mut keys = HashSet::new();
        for (place, project) in projects.into_iter().enumerate() {
            let name = project.name(place);
            let project =
                ServedProject::load(project).map_err(|cause| StartError::Project { project: name, cause })?;
            for key in &project.sdk_keys {
                if !keys.insert(key.clone()) {
                    return Err(StartError::DuplicateKey(key.clone()));
                }
            }
            served.push(project);
        }
        Ok(Self { served })
    }

    /// The project of a key: one that was given this key, or else the first with these account and project ids.
    ///
    /// Several SDK keys of one project, each with a config of its own, are ordinary; they share the ids.
    pub(crate) fn find(&mut self, sdk_key: &str) -> Option<&mut ServedProject> {
        let place = self
            .served
            .iter()
            .position(|project| project.sdk_keys.iter().any(|key| key == sdk_key))
            .or_else(|| self.served.iter().position(|project| project.config.direct_key() == sdk_key))?;
        self.served.get_mut(place)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ServedProject> {
        self.served.iter()
    }
}

impl Project {
    fn name(&self, place: usize) -> String {
        match (&self.source, self.sdk_keys.first()) {
            (ConfigSource::File(path), _) => path.display().to_string(),
            (ConfigSource::Text(_), Some(key)) => key.clone(),
            (ConfigSource::Text(_), None) => format!("number {}", place + 1),
        }
    }
}

impl ServedProject {
    fn load(project: Project) -> Result<Self, ConfigError> {
        let Project { source, sdk_keys, secret } = project;
        let (text, file) = match source {
            ConfigSource::Text(text) => (text, None),
            ConfigSource::File(path) => (read(&path)?, Some(WatchedFile { path, refused: None })),
        };
        let config = Config::parse(text, None)?;
        Ok(Self { sdk_keys, secret, known: config.ids.clone(), config: Arc::new(config), file })
    }

    /// Every key the project answers to, without repetition.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = self.sdk_keys.clone();
        keys.push(self.config.direct_key());
        let mut seen = HashSet::new();
        keys.retain(|key| seen.insert(key.clone()));
        keys
    }

    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// Serves another config from now on; the project's file, if any, is not looked at again.
    pub(crate) fn replace(&mut self, text: String) -> Result<(), ConfigError> {
        self.publish(Config::parse(text, Some(&self.config))?);
        self.file = None;
        Ok(())
    }

    /// Takes a changed file over; returns a warning if the change cannot be served.
    ///
    /// The text is compared, not the time of change: two writes within one tick of the file system's clock look
    /// alike, and reading a config that small costs less than being wrong about it.
    pub(crate) fn reload(&mut self) -> Option<String> {
        let path = self.file.as_ref()?.path.clone();
        let (refused, problem) = match read(&path) {
            Ok(text) if text == self.config.text() => (None, None),
            // Taken as at the start, so that the program can be started again with what it serves.
            Ok(text) => match Config::parse(text.clone(), None) {
                Ok(config) => {
                    self.publish(config);
                    (None, None)
                }
                Err(error) => (Some(text), Some(error)),
            },
            Err(error) => (Some(String::new()), Some(error)),
        };
        let file = self.file.as_mut()?;
        let known_problem = file.refused == refused;
        file.refused = refused;
        let problem = problem.filter(|_| !known_problem)?;
        Some(format!("{}: {problem}; the last good config stays", path.display()))
    }

    fn publish(&mut self, config: Config) {
        self.known.extend(&config.ids);
        self.config = Arc::new(config);
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })
}
