//! The served projects: lookup by SDK key, reload of changed files, and replacement at run time.

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
    /// Counts the configs served so far, from 1.
    pub(crate) revision: u64,
    /// The ids of every config served so far.
    pub(crate) known: KnownIds,
    file: Option<WatchedFile>,
}

#[derive(Debug)]
struct WatchedFile {
    path: PathBuf,
    /// The file's content when it could not be served, to warn once per invalid text.
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

    /// The project of a key: the one given this key, or else the first with these account and project ids.
    ///
    /// It is common for several SDK keys of one project to have different configs; they share the ids.
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
        Ok(Self { sdk_keys, secret, known: config.ids.clone(), config: Arc::new(config), revision: 1, file })
    }

    /// Every key the project responds to, without duplicates.
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

    /// Serves a different config from now on; the project's file, if any, is no longer read.
    pub(crate) fn replace(&mut self, text: String) -> Result<(), ConfigError> {
        self.publish(Config::parse(text, Some(&self.config))?);
        self.file = None;
        Ok(())
    }

    /// A warning about experiences that are left out for their status, if there are any.
    pub(crate) fn unserved(&self) -> Option<String> {
        let unserved = self.config.unserved()?;
        let name = self.file().map(|file| file.display().to_string());
        let name = name.or_else(|| self.keys().into_iter().next()).unwrap_or_default();
        Some(format!("warning: {name}: {unserved}"))
    }

    /// Loads a changed file; returns a warning if the change, or an experience in it, cannot be served.
    ///
    /// Compares the text rather than the modification time: two writes within one tick of the file system's clock look
    /// alike, and reading a config this small costs less than being wrong about it.
    pub(crate) fn reload(&mut self) -> Option<String> {
        let path = self.file.as_ref()?.path.clone();
        let (refused, problem) = match read(&path) {
            Ok(text) if text == self.config.text() => (None, None),
            // Held to the same checks as at the start, so that the program can be restarted with what it serves.
            Ok(text) => match Config::parse(text.clone(), None) {
                Ok(config) => {
                    self.publish(config);
                    self.file.as_mut()?.refused = None;
                    return self.unserved();
                }
                Err(error) => (Some(text), Some(error)),
            },
            Err(error) => (Some(String::new()), Some(error)),
        };
        let file = self.file.as_mut()?;
        let known_problem = file.refused == refused;
        file.refused = refused;
        let problem = problem.filter(|_| !known_problem)?;
        Some(format!("warning: {}: {problem}; keeping the last good config", path.display()))
    }

    fn publish(&mut self, config: Config) {
        self.known.extend(&config.ids);
        self.config = Arc::new(config);
        self.revision += 1;
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })
}
