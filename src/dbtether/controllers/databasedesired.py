"""What a Database resource asks for, as PostgreSQL's side knows it. Pure."""

from dbtether.api.database import DatabaseSpec, database_name
from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.names import marker
from dbtether.api.resource import Resource
from dbtether.postgres.databases.model import DesiredDatabase, DesiredExtension, DesiredSchema
from dbtether.postgres.roles.model import role_names


def desired_database(
    resource: Resource, spec: DatabaseSpec, cluster: DBClusterSpec, installation: str
) -> DesiredDatabase:
    """The database that a Database resource asks for."""
    name = database_name(spec, resource.key.name)
    options = spec.extension_options
    return DesiredDatabase(
        name=name,
        marker=marker(resource.key.namespace, resource.key.name, installation),
        roles=role_names(name),
        extensions=tuple(
            DesiredExtension(
                extension,
                options[extension].version if extension in options else None,
                options[extension].schema_ if extension in options else None,
            )
            for extension in spec.extensions
        ),
        drop_extensions=spec.drop_extensions,
        previous_extensions=tuple(
            entry["name"] for entry in resource.status.get("extensions", ()) if isinstance(entry, dict)
        ),
        allowed_extensions=frozenset(cluster.allowed_extensions),
        schemas=tuple(DesiredSchema(schema.name, schema.owner) for schema in spec.schemas),
        owner=spec.owner,
        template=spec.template,
        encoding=None if spec.encoding is None else spec.encoding.value,
        lc_collate=spec.lc_collate,
        lc_ctype=spec.lc_ctype,
        locale_provider=None if spec.locale_provider is None else spec.locale_provider.value,
        icu_locale=spec.icu_locale,
        connection_limit=spec.connection_limit,
        settings=tuple(sorted(spec.settings.items())),
        previous_settings=frozenset(resource.status.get("appliedSettings", ())),
    )
