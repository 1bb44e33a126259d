//! Which model answers, and who has it.

use std::time::Duration;

use shared::{
    catalogue::{self, Model, Route},
    config::Environment,
    models::usage::Attempt,
    providers::{NotNow, Picked},
    tokens::Measure,
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
    Model(Model, Vec<Route>),
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
    pub(crate) fn sees_pictures(&self) -> bool {
        matches!(self, Self::Model(model, _) if model.sees_pictures)
    }

    /// What is noted before the first one is asked.
    pub(super) fn attempt(&self, app: &App, first: Option<&Picked>, input_tokens: u32) -> Attempt {
        let attempt = match (self, first) {
            (Self::Model(model, routes), Some(picked)) => {
                first_attempt(app, &model.id, routes, picked, input_tokens)
            }
            _ => None,
        };
        attempt.unwrap_or_else(|| echo_attempt(app, input_tokens))
    }

    /// How tokens are counted by whoever may be asked and counts most: what goes along must be within the limit there, too.
    pub(crate) fn measure(&self, app: &App) -> Measure {
        let Self::Model(_, routes) = self else {
            return app.tokens.plain();
        };
        let measures = routes
            .iter()
            .map(|route| app.tokens.measure(&route.provider, &route.model));
        measures
            .max_by_key(|measure| measure.of_stored(1_000_000))
            .unwrap_or(app.tokens.plain())
    }

    /// Who is asked first.
    pub(crate) fn first_provider(&self) -> &str {
        match self {
            Self::Model(_, routes) => routes
                .first()
                .map_or(catalogue::ECHO, |route| &route.provider),
            Self::Echo => catalogue::ECHO,
        }
    }

    /// Picks the key that is used first, of the first provider that can be asked now; none where nobody needs one.
    ///
    /// # Errors
    /// [`Error::Exhausted`] with the soonest time at which one can be asked, or [`Error::NoProvider`].
    pub(super) async fn pick(&self, app: &App) -> Result<Option<Picked>> {
        let Self::Model(model, routes) = self else {
            return Ok(None);
        };
        pick_first(app, &model.id, routes).await.map(Some)
    }
}

/// Picks the key that is used first for a model: of the first provider that can be asked now.
///
/// # Errors
/// [`Error::Exhausted`] with the soonest time at which one can be asked, or [`Error::KeysRetired`].
pub(super) async fn pick_first(app: &App, model: &str, routes: &[Route]) -> Result<Picked> {
    let (mut exhausted, mut open): (Option<Duration>, Option<Duration>) = (None, None);
    let soonest =
        |known: Option<Duration>, wait: Duration| Some(known.map_or(wait, |known| known.min(wait)));
    for route in routes {
        match app.providers.pick(&route.provider, &route.model, &[]).await {
            Ok(picked) => return Ok(picked),
            Err(NotNow::Exhausted(wait)) => exhausted = soonest(exhausted, wait),
            Err(NotNow::Open(wait)) => open = soonest(open, wait),
            Err(NotNow::NoKey) => {}
        }
    }
    match (exhausted, open) {
        (None, None) => Err(Error::KeysRetired {
            model: model.to_owned(),
        }),
        (Some(one), Some(other)) => Err(Error::Exhausted {
            retry_after: one.min(other),
            is_limit: one <= other,
        }),
        (Some(wait), None) => Err(Error::Exhausted {
            retry_after: wait,
            is_limit: true,
        }),
        (None, Some(wait)) => Err(Error::Exhausted {
            retry_after: wait,
            is_limit: false,
        }),
    }
}

/// Finds the model that somebody asks for, or the one of those who name none.
///
/// # Errors
/// [`Error::ModelNotFound`], [`Error::NoProvider`].
pub(crate) fn choose(app: &App, asked: Option<&str>) -> Result<Choice> {
    let Some(id) = asked.or(app.config.chat.default_model.as_deref()) else {
        let with_keys = || {
            let mut models = app.config.common.ai.catalogue.models.iter();
            models.find_map(|model| routes(app, model))
        };
        let first = usable(app).next().or_else(with_keys);
        return first.ok_or_else(|| no_provider(app, None));
    };
    if id == catalogue::ECHO && is_alone(app) {
        return Ok(Choice::Echo);
    }
    let model = find(app, id)?;
    routes(app, model).ok_or_else(|| no_provider(app, Some(model)))
}

/// How tokens are counted for the model that somebody names: as the first provider counts that can be asked, or would be.
///
/// # Errors
/// [`Error::ModelNotFound`].
pub(crate) fn measure(app: &App, id: &str) -> Result<Measure> {
    if id == catalogue::ECHO && is_alone(app) {
        return Ok(app.tokens.plain());
    }
    let model = find(app, id)?;
    let mut routes = model.routes.iter();
    let route = routes.find(|route| app.providers.has(&route.provider));
    let route = route.or(model.routes.first());
    Ok(route.map_or(app.tokens.plain(), |route| {
        app.tokens.measure(&route.provider, &route.model)
    }))
}

fn find<'a>(app: &'a App, id: &str) -> Result<&'a Model> {
    let catalogue = &app.config.common.ai.catalogue;
    catalogue.find(id).ok_or_else(|| {
        let known = catalogue.models.iter().map(|model| model.id.as_str());
        Error::ModelNotFound {
            model: id.to_owned(),
            near: catalogue::near(id, known)
                .into_iter()
                .map(str::to_owned)
                .collect(),
        }
    })
}

/// All models that can be asked now, best first.
pub(crate) fn usable(app: &App) -> impl Iterator<Item = Choice> {
    let models = &app.config.common.ai.catalogue.models;
    let echo = is_alone(app).then_some(Choice::Echo);
    let can_ask = |choice: &Choice| match choice {
        Choice::Model(_, routes) => routes
            .iter()
            .any(|route| app.providers.can_ask(&route.provider)),
        Choice::Echo => true,
    };
    models
        .iter()
        .filter_map(|model| routes(app, model))
        .filter(move |choice| can_ask(choice))
        .chain(echo)
}

/// Whether this is the machine of a newcomer, who has no key yet.
fn is_alone(app: &App) -> bool {
    let common = &app.config.common;
    common.environment == Environment::Development && app.providers.is_empty()
}

fn routes(app: &App, model: &Model) -> Option<Choice> {
    let routes = model.routes.iter();
    let routes: Vec<Route> = routes
        .filter(|route| app.providers.has(&route.provider))
        .cloned()
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

/// What is noted before a provider is asked; `input_tokens` as they are stored.
pub(super) fn attempt(
    app: &App,
    model: &str,
    route: &Route,
    key_group: String,
    input_tokens: u32,
) -> Attempt {
    let version = &app.config.common.ai.catalogue.version;
    let measure = app.tokens.measure(&route.provider, &route.model);
    Attempt {
        provider: route.provider.clone(),
        model: model.to_owned(),
        provider_model: route.model.clone(),
        key_group,
        price: route.price.map(|price| (version.clone(), price)),
        input_tokens: measure.of_stored(input_tokens),
        round: 0,
        begun_bytes: 0,
        started_at: app.clock.now(),
        spent: None,
    }
}

/// The same for the key that was picked first.
pub(super) fn first_attempt(
    app: &App,
    model: &str,
    routes: &[Route],
    first: &Picked,
    input_tokens: u32,
) -> Option<Attempt> {
    let mut routes = routes.iter();
    let route = routes.find(|route| first.is_of(&route.provider, &route.model))?;
    let group = first.group().to_owned();
    Some(attempt(app, model, route, group, input_tokens))
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
