//! Which model answers, and who has it.

use shared::{
    catalogue::{self, Model, Route},
    config::{Environment, ProviderConfig},
    models::usage::Attempt,
};

use crate::{
    app::App,
    error::{Error, Result},
};

/// The price of what is said here: none.
const NOTHING: catalogue::Price = catalogue::Price {
    input: 0,
    cached_input: None,
    output: 0,
};

/// A model that answers.
#[derive(Debug, Clone)]
pub(crate) enum Choice {
    /// A model of the catalogue, and those of its routes that can be asked.
    Model(Model, Vec<(Route, ProviderConfig)>),
    /// Nobody: the question is said back.
    Echo,
}

impl Choice {
    /// Its name.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Model(model, _) => &model.id,
            Self::Echo => catalogue::ECHO,
        }
    }

    /// Whether it can be shown pictures.
    pub(super) fn sees_pictures(&self) -> bool {
        matches!(self, Self::Model(model, _) if model.sees_pictures)
    }

    /// What is noted of an answer before anybody is asked.
    pub(super) fn first_attempt(&self, app: &App, input_tokens: u32) -> Attempt {
        match self {
            Self::Model(model, routes) => {
                let (route, _) = routes.first().expect("a model has a route");
                attempt(app, &model.id, route, String::new(), input_tokens)
            }
            Self::Echo => echo_attempt(app, input_tokens),
        }
    }

    /// Who is asked first.
    pub(super) fn first_provider(&self) -> &str {
        match self {
            Self::Model(_, routes) => routes
                .first()
                .map_or(catalogue::ECHO, |(route, _)| &route.provider),
            Self::Echo => catalogue::ECHO,
        }
    }
}

/// Finds the model that somebody asks for, or the one of those who name none.
///
/// # Errors
/// [`Error::ModelNotFound`], [`Error::NoProvider`].
pub(crate) fn choose(app: &App, asked: Option<&str>) -> Result<Choice> {
    let catalogue = &app.config.common.ai.catalogue;
    let Some(id) = asked.or(app.config.chat.default_model.as_deref()) else {
        return usable(app).next().ok_or_else(|| no_provider(app, None));
    };
    if id == catalogue::ECHO && is_alone(app) {
        return Ok(Choice::Echo);
    }
    let Some(model) = catalogue.find(id) else {
        let known = catalogue.models.iter().map(|model| model.id.as_str());
        return Err(Error::ModelNotFound {
            model: id.to_owned(),
            near: catalogue::near(id, known)
                .into_iter()
                .map(str::to_owned)
                .collect(),
        });
    };
    routes(app, model).ok_or_else(|| no_provider(app, Some(model)))
}

/// All models that can be asked now, best first.
pub(crate) fn usable(app: &App) -> impl Iterator<Item = Choice> {
    let models = &app.config.common.ai.catalogue.models;
    let echo = is_alone(app).then_some(Choice::Echo);
    models
        .iter()
        .filter_map(|model| routes(app, model))
        .chain(echo)
}

/// Whether this is the machine of a newcomer, who has no key yet.
fn is_alone(app: &App) -> bool {
    let common = &app.config.common;
    common.environment == Environment::Development && common.ai.providers.is_empty()
}

fn routes(app: &App, model: &Model) -> Option<Choice> {
    let routes: Vec<_> = model
        .routes
        .iter()
        .filter_map(|route| {
            let provider = app.config.common.ai.provider(&route.provider)?;
            Some((route.clone(), provider.clone()))
        })
        .collect();
    (!routes.is_empty()).then(|| Choice::Model(model.clone(), routes))
}

fn no_provider(app: &App, model: Option<&Model>) -> Error {
    let catalogue = &app.config.common.ai.catalogue;
    let providers = catalogue.providers.iter();
    let variables = providers
        .filter(|provider| {
            model.is_none_or(|model| {
                let mut routes = model.routes.iter();
                routes.any(|route| route.provider == provider.name)
            })
        })
        .map(|provider| provider.variable("API_KEYS"))
        .collect();
    Error::NoProvider {
        what: model.map_or("any model".to_owned(), |model| model.id.clone()),
        variables,
    }
}

/// What is noted before a provider is asked.
pub(super) fn attempt(
    app: &App,
    model: &str,
    route: &Route,
    key_group: String,
    input_tokens: u32,
) -> Attempt {
    let version = &app.config.common.ai.catalogue.version;
    Attempt {
        provider: route.provider.clone(),
        model: model.to_owned(),
        provider_model: route.model.clone(),
        key_group,
        price: route.price.map(|price| (version.clone(), price)),
        input_tokens,
        started_at: app.clock.now(),
        spent: None,
    }
}

/// The same, where nobody is asked.
pub(super) fn echo_attempt(app: &App, input_tokens: u32) -> Attempt {
    let route = Route {
        provider: catalogue::ECHO.to_owned(),
        model: catalogue::ECHO.to_owned(),
        price: Some(NOTHING),
    };
    attempt(app, catalogue::ECHO, &route, String::new(), input_tokens)
}
