//! A local stand-in for the config CDN and the metrics endpoint.
