//! Tables and scenes.
