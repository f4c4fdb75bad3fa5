"""Every error kerasql raises.

    KerasqlError
    ├── InvalidInput            what was given cannot be used
    │   ├── InvalidName         a model, alias or dataset name
    │   ├── NameTaken           a name that would collide in SQL
    │   ├── InvalidFile         a file that is no usable Keras model
    │   │   └── RefusedFile     a model that would run code or is not built in
    │   ├── NotUnderstood       an architecture that cannot be rewritten for Keras 3
    │   ├── WeightsMissing      weights that do not fit the architecture
    │   ├── InvalidLabels       class names that do not fit the outputs
    │   ├── InvalidPreprocess   a preprocessor that does not fit the inputs
    │   ├── UntrustedCode       source text without its grant
    │   ├── SourceFailed        source text that cannot be run
    │   ├── InvalidArguments    a SQL call that does not fit the signature
    │   └── WrongOffset         a piece of an upload that is not the next
    ├── NotSignedIn             a password, token or link that lets nobody in
    ├── TooManyAttempts         a name or address that was refused too often
    ├── Forbidden               a privilege that was not granted
    │   └── RoleMissing         what goes with a role
    ├── AdminsOnly              what only an admin may do
    ├── NotFound                a ref, dataset, artifact or user that is not there
    ├── InUse                   a version that an alias still points to
    ├── InvalidQuery            SQL that is not one query, or that Spark refuses
    ├── TooManyQueries          a user who has as many waiting as there may be
    ├── RegistryUnavailable     the database cannot be reached, is too old or too new
    ├── ConstructFailed         the child process that loads a model gave up
    ├── BrokenArtifact          bytes that are missing or not what was registered
    ├── EngineFailed            an engine cannot load or disagrees with Keras
    ├── ServerFailed            an executor's model server that cannot be started or kept
    ├── UnsafeKeras             an installed Keras with known holes
    └── BadRow                  one row's value; becomes NULL and a reason, never a failed query

An error's ``args`` are its facts, worded by ``__str__``; it survives pickling between processes.
"""

from __future__ import annotations

from collections.abc import Iterable


class KerasqlError(Exception):
    """One clear sentence: what was asked, what exists, what to do next."""

    sentence = "{0}"

    def __str__(self) -> str:
        return self.sentence.format(*self.args)


class InvalidInput(KerasqlError, ValueError):
    """What was given cannot be used. Args: the sentence."""


class InvalidName(InvalidInput):
    """Args: the name, what it names (model, alias, dataset), what is wrong with it."""

    sentence = "{0!r} cannot be used as {1} name: {2}"


class NameTaken(InvalidInput):
    """Args: the name, what it names, what it collides with."""

    sentence = "the {1} name {0!r} would collide with {2}; choose another name"


class InvalidFile(InvalidInput):
    """Args: the file's name, what is wrong with it and what to do."""

    sentence = "{0} cannot be registered: {1}"


class RefusedFile(InvalidFile):
    """A model that is not made of Keras' own layers alone. Args: the file, what and where."""


class NotUnderstood(InvalidInput):
    """An architecture that cannot be rewritten for Keras 3. Args: the place in it, the reason."""

    sentence = "its architecture cannot be rewritten for Keras 3: {0!r}: {1}"


class WeightsMissing(InvalidInput):
    """Weights that do not fit the architecture. Args: the layer, the reason."""

    sentence = "its weights do not fit its architecture: {0!r}: {1}"


class InvalidLabels(InvalidInput):
    """Class names that do not fit the outputs. Args: the sentence."""


class InvalidPreprocess(InvalidInput):
    """A preprocessor that does not fit the inputs. Args: the sentence."""


class UntrustedCode(InvalidInput):
    """Args: what carries source text."""

    sentence = (
        "{0} carries Python source that would run on executors; read it, then grant it "
        "with trust_code=True (--trust-code)"
    )


class SourceFailed(InvalidInput):
    """Source text that cannot be run. Args: the sentence."""


class InvalidArguments(InvalidInput):
    """A SQL call that does not fit the signature. Args: the function, the sentence."""

    sentence = "{0}: {1}"


class WrongOffset(InvalidInput):
    """A piece of an upload that is not the next. Args: the upload's id, where to go on."""

    sentence = "the upload {0} goes on at byte {1}; send the bytes from there"


class NotFound(KerasqlError, LookupError):
    """Args: the kind of thing, what was asked, what exists, what to do when nothing does."""

    def __str__(self) -> str:
        kind, asked, known, hint = self.args
        exists = f"there is {spelled(known)}" if known else hint
        return f"no {kind} {asked!r}; {exists}"


class NotSignedIn(KerasqlError):
    """A password, token or link that lets nobody in. Args: the sentence."""


class TooManyAttempts(KerasqlError):
    """A name or address was refused too often. Args: when to try again, a time in UTC."""

    sentence = "too many attempts to sign in were refused; try again at {0:%H:%M:%S} UTC"


class AdminsOnly(KerasqlError):
    """Args: the user."""

    sentence = "only an admin may do that, and {0!r} is none; ask one"


class Forbidden(KerasqlError):
    """Args: the user, the privilege, what it is missing on, the names of the admins."""

    def __str__(self) -> str:
        user, privilege, name, admins = self.args
        who = f"an admin ({spelled(admins)})" if admins else "an admin"
        return f"{user!r} lacks the privilege {privilege!r} on {name!r}; {who} can grant it"


class RoleMissing(Forbidden):
    """What goes with a role. Args: the user, what he may not, who may."""

    def __str__(self) -> str:
        user, what, who = self.args
        return f"{user!r} may not {what}; that is for {who}"


class InUse(KerasqlError):
    """Args: the version's ref, the aliases that point to it."""

    def __str__(self) -> str:
        ref, aliases = self.args
        return (
            f"{ref} is what the alias {spelled(aliases)} points to; "
            "move or remove the alias, then delete it"
        )


class InvalidQuery(KerasqlError, ValueError):
    """SQL that is not one query, or that Spark refuses. Args: the sentence."""


class TooManyQueries(KerasqlError):
    """Args: the user, how many of their queries wait."""

    sentence = "{0!r} has {1} queries waiting, which is the limit; stop one, or wait for one"


class Busy(KerasqlError):
    """Args: what the server does, how many at once."""

    sentence = "the server {0} for {1} others now; try again in a moment"


class RegistryUnavailable(KerasqlError):
    """Args: the database without its password, the reason and what to do."""

    sentence = "the registry at {0} cannot be used: {1}"


class ConstructFailed(KerasqlError):
    """Args: the file's name, the reason."""

    sentence = "{0} could not be loaded: {1}"


class BrokenArtifact(KerasqlError):
    """Args: the version's ref (or None), the artifact's role and SHA-256, what is wrong."""

    def __str__(self) -> str:
        ref, artifact, wrong = self.args
        whose = f" of {ref}" if ref else ""
        return f"artifact {artifact}{whose} {wrong}"


class EngineFailed(KerasqlError):
    """Args: the version's ref, the engine, the reason."""

    sentence = "{0} cannot be served by the engine {1!r}: {2}"


class ServerFailed(KerasqlError):
    """An executor's model server cannot be started or kept. Args: what happened."""

    sentence = "the model server failed: {0}"


class UnsafeKeras(KerasqlError):
    """Args: the installed version of Keras, the oldest that is accepted."""

    sentence = (
        "Keras {0} is installed, which has known holes: a model file can run code in it; "
        "install Keras {1} or newer"
    )


class BadRow(KerasqlError, ValueError):
    """One row's value cannot be used; the row's answer is NULL. Args: the reason."""


def spelled(names: Iterable[str], most: int = 8) -> str:
    """``'a', 'b' and 3 more``: names as an error shows them."""
    quoted = [repr(name) for name in names]
    if len(quoted) > most:
        return f"{', '.join(quoted[:most])} and {len(quoted) - most} more"
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1] if quoted else ""]))
