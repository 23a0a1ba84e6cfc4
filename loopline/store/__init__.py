"""Object storage, the commit log, dataset trees and projections."""
